import { Header, Pax } from "tar"
import { decodeUtf8 } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import type { ByteReader } from "./byte-reader.ts"

/** One file-system object in an archive. */
export interface TarEntry {
  readonly type: "file" | "folder" | "symlink" | "hardlink"
  /** Relative, with `/`; empty for the root folder itself. */
  readonly path: string
  /** What a symlink says, as it says it; for a hardlink the path of the file that came before. */
  readonly target: string
  /** Bytes of content that follow; 0 for all but files. */
  readonly size: number
  /** Permission bits, with setuid, setgid and sticky. */
  readonly mode: number
  /** To the millisecond. */
  readonly mtimeMs: number
  readonly uid: number
  readonly gid: number
}

const BLOCK = 512
/** Above this a record of names would hold a path that no system accepts. */
const MAX_PAX_BYTES = 64 * 1024
/** Names up to here go into the plain header. */
const MAX_PLAIN_NAME = 99
/** The last second that a plain header can tell. */
const MAX_PLAIN_SECONDS = 0o77777777777

const TYPE_NAMES = { file: "File", folder: "Directory", symlink: "SymbolicLink", hardlink: "Link" } as const

/** Two empty blocks end an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK)

/**
 * An entry's header in the ustar format, behind a pax record (POSIX.1-2017, pax, section "pax Header
 * Block") where the plain header can't tell everything. `tar -x` reads it.
 */
export function encodeEntry(entry: TarEntry): Buffer {
  const path = `./${entry.path}${entry.type === "folder" && entry.path !== "" ? "/" : ""}`
  const { uid, gid, size, target } = entry
  const header = new Header({
    path, uid, gid, size, mode: entry.mode, type: TYPE_NAMES[entry.type],
    ...(target === "" ? {} : { linkpath: target }),
    mtime: new Date(Math.floor(entry.mtimeMs / 1000) * 1000),
  })
  const incomplete = header.encode()
  if (!header.block) throw new Error("the tar library made no block")
  const pax = encodePax(entry, path, incomplete)
  return Buffer.concat([pax, header.block])
}

function encodePax(entry: TarEntry, path: string, incomplete: boolean): Buffer {
  const seconds = entry.mtimeMs / 1000
  // The library can't put fractions of seconds before 1970 or after 2242 into the pax record's own header.
  const fraction = !Number.isInteger(seconds) && seconds >= 0 && seconds < MAX_PLAIN_SECONDS
  const long = Buffer.byteLength(path) > MAX_PLAIN_NAME || Buffer.byteLength(entry.target) > MAX_PLAIN_NAME
  if (!incomplete && !fraction && !long) return Buffer.alloc(0)
  return new Pax({
    path, uid: entry.uid, gid: entry.gid, size: entry.size,
    ...(entry.target === "" ? {} : { linkpath: entry.target }),
    mtime: new Date(fraction ? entry.mtimeMs : Math.floor(seconds) * 1000),
  }).encode()
}

/** The empty bytes that fill an entry's last block. */
export function paddingAfter(size: number): Buffer {
  return Buffer.alloc((BLOCK - size % BLOCK) % BLOCK)
}

/**
 * Reads the next entry's header. The caller then reads `size` bytes and the padding. The library's
 * own parser is not used: it breaks pax values at line ends, and names may have line ends.
 * @returns `null` at the archive's end mark.
 * @throws EkeyError ERR_ARCHIVE for anything that `encodeEntry` does not write.
 */
export async function readEntry(reader: ByteReader): Promise<TarEntry | null> {
  let pax = new Map<string, string>()
  for (;;) {
    const block = await reader.exactly(BLOCK)
    if (!block) throw malformed("it ends without its end mark")
    const header = new Header(block)
    if (header.nullBlock) return null
    if (!header.cksumValid) throw malformed("a header's checksum is wrong")
    if (header.type !== "ExtendedHeader") return toEntry(header, pax)
    if (pax.size > 0) throw malformed("a header is doubled")
    pax = await readPax(reader, header.size ?? 0)
  }
}

async function readPax(reader: ByteReader, size: number): Promise<Map<string, string>> {
  if (size < 1 || size > MAX_PAX_BYTES) throw malformed("an extended header is empty or too long")
  const body = await reader.exactly(size)
  const padding = await reader.exactly(paddingAfter(size).length)
  if (!body || !padding) throw malformed("it ends within a header")
  const records = new Map<string, string>()
  // "LENGTH KEY=VALUE\n", where LENGTH counts the whole record: values may hold anything, line ends too.
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(" ", at)
    const length = Number(body.toString("latin1", at, Math.max(at, space)))
    const equals = body.indexOf("=", space)
    const end = at + length
    if (space < 0 || equals < 0 || !Number.isInteger(length) || equals >= end || end > body.length || body[end - 1] !== 0x0a) {
      throw malformed("an extended header is broken")
    }
    records.set(body.toString("latin1", space + 1, equals), strictText(body.subarray(equals + 1, end - 1)))
    at = end
  }
  return records
}

function toEntry(header: Header, pax: ReadonlyMap<string, string>): TarEntry {
  const type = Object.entries(TYPE_NAMES).find(([, name]) => name === header.type)?.[0]
  if (type !== "file" && type !== "folder" && type !== "symlink" && type !== "hardlink") throw malformed("an entry is of an unknown type")
  return {
    type,
    path: relativePath(pax.get("path") ?? header.path ?? "", type),
    target: pax.get("linkpath") ?? header.linkpath ?? "",
    size: type === "file" ? wholeNumber(pax.get("size"), header.size) : 0,
    mode: wholeNumber(undefined, header.mode) & 0o7777,
    mtimeMs: Math.round(number(pax.get("mtime"), (header.mtime?.getTime() ?? Number.NaN) / 1000) * 1000),
    uid: wholeNumber(pax.get("uid"), header.uid),
    gid: wholeNumber(pax.get("gid"), header.gid),
  }
}

function relativePath(path: string, type: TarEntry["type"]): string {
  const relative = path.replace(/^\.\//, "")
  return type === "folder" ? relative.replace(/\/$/, "") : relative
}

function wholeNumber(text: string | undefined, plain: number | undefined): number {
  const value = number(text, plain)
  if (!Number.isSafeInteger(value) || value < 0) throw malformed("a header has an impossible number")
  return value
}

function number(text: string | undefined, plain: number | undefined): number {
  const value = text === undefined ? plain : /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined
  if (value === undefined || !Number.isFinite(value)) throw malformed("a header has no number where one belongs")
  return value
}

function strictText(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes)
  } catch (cause) {
    throw malformed("a name is not UTF-8", cause)
  }
}

function malformed(what: string, cause?: unknown): EkeyError {
  return new EkeyError("ERR_ARCHIVE", `the archive is malformed: ${what}`, { cause })
}
