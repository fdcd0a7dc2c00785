/** What every child may know: where programs, home and temporary folders are, language and time zone. */
const ALWAYS = new Set(["PATH", "HOME", "TMPDIR", "LANG", "TZ", "XDG_CACHE_HOME"])

/**
 * The part of an environment that a job's program gets: variables that programs need to run, plus
 * those named. Everything else stays behind, the worker's own settings and secrets included.
 */
export function cleanEnvironment(base: Readonly<Record<string, string | undefined>>, names: readonly string[] = []): Record<string, string> {
  const clean: Record<string, string> = {}
  for (const [name, value] of Object.entries(base)) {
    if (value !== undefined && (ALWAYS.has(name) || name.startsWith("LC_") || names.includes(name))) clean[name] = value
  }
  return clean
}
