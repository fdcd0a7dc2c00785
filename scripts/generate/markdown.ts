/** A table in GitHub's Markdown. Cells are one line each. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeCell).join(" | ")} |`
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")
}

export function code(text: string): string {
  return `\`${text}\``
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ")
}

/**
 * Puts `content` between the markers `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
 * @throws Error when the page has not exactly one such pair.
 */
export function replaceSection(page: string, name: string, content: string): string {
  const [begin, end] = [`<!-- generated: ${name} -->`, `<!-- end of ${name} -->`]
  const [before, rest, ...moreBegins] = page.split(begin)
  const [, after, ...moreEnds] = rest?.split(end) ?? []
  if (before === undefined || after === undefined || moreBegins.length > 0 || moreEnds.length > 0) {
    throw new Error(`the page has not exactly one section ${name}: write ${begin} and ${end} where it belongs`)
  }
  return `${before}${begin}\n\n${content}\n\n${end}${after}`
}
