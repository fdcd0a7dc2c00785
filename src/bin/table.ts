import { printLine } from "./cli.ts"

/** Prints rows under headings, in columns as wide as their content. Says so when there are none. */
export function printTable(headings: readonly string[], rows: readonly (readonly (string | number | null)[])[]): void {
  if (rows.length === 0) {
    printLine("none")
    return
  }
  const lines = [headings, ...rows.map((row) => row.map((cell) => cell === null ? "-" : String(cell)))]
  const widths = headings.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)))
  for (const cells of lines) printLine(cells.map((cell, column) => column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)).join("  "))
}

/** A time as people and scripts read it, or null. */
export function formatTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
