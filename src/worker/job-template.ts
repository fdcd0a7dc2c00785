/** A piece of a template: text as it stands, or the name of a value. */
type Piece = { readonly text: string } | { readonly name: string }

/** `{name}` with a name like those of parameters; `{{` and `}}` stand for single braces. */
const TOKEN = /\{\{|\}\}|\{([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\}|[{}]/g

/** One argument of a job with `{names}` in it, parsed. Values are put in as text and never read again. */
export class JobTemplate {
  readonly #pieces: readonly Piece[]

  private constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces
  }

  /** @returns the template, or `null` when it has a brace that belongs to no `{name}`, `{{` or `}}`. */
  static parse(source: string): JobTemplate | null {
    const pieces: Piece[] = []
    let at = 0
    for (const match of source.matchAll(TOKEN)) {
      if (match.index > at) pieces.push({ text: source.slice(at, match.index) })
      at = match.index + match[0].length
      if (match[1] !== undefined) pieces.push({ name: match[1] })
      else if (match[0].length === 2) pieces.push({ text: match[0].charAt(0) })
      else return null
    }
    if (at < source.length) pieces.push({ text: source.slice(at) })
    return new JobTemplate(pieces)
  }

  /** The names in it, in order, repeated ones too. */
  get names(): readonly string[] {
    return this.#pieces.flatMap((piece) => "name" in piece ? [piece.name] : [])
  }

  /** @returns the text, or `null` when a value is missing. */
  fill(values: ReadonlyMap<string, string>): string | null {
    let text = ""
    for (const piece of this.#pieces) {
      const part = "text" in piece ? piece.text : values.get(piece.name)
      if (part === undefined) return null
      text += part
    }
    return text
  }
}
