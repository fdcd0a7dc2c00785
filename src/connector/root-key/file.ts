import { randomBytes } from "node:crypto"
import { dirname } from "node:path"
import { EkeyError } from "../../base/errors.ts"
import { createFileDurably, makePrivateFolder, readPrivateFile } from "../../base/files.ts"
import { Secret } from "../../base/secret.ts"
import { ROOT_KEY_BYTES } from "../../crypto/sealed-record.ts"
import type { RootKeySource } from "./root-key-source.ts"

const PREFIX = Buffer.from("ekey-root-key-v1:")
const DIGITS = Buffer.from("0123456789abcdef")
const NEWLINE = 0x0a
const FILE_BYTES = PREFIX.length + 2 * ROOT_KEY_BYTES + 1

/**
 * The root key in a file of mode 0600: one line, `ekey-root-key-v1:` and 64 lower-case hexadecimal
 * digits. Protects against other accounts only; whoever has the disk has the key.
 */
export class FileRootKeySource implements RootKeySource {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  async load(): Promise<Secret | null> {
    const line = await reading(() => readPrivateFile(this.#path))
    if (line === null) return null
    try {
      const key = decode(line)
      if (key === null) throw new EkeyError("ERR_FILE", `the root key file is damaged, bring back a copy of it: ${this.#path}`)
      return new Secret(key)
    } finally {
      line.fill(0)
    }
  }

  async create(): Promise<Secret> {
    const key = randomBytes(ROOT_KEY_BYTES)
    const line = encode(key)
    try {
      const created = await reading(async () => {
        await makePrivateFolder(dirname(this.#path))
        return createFileDurably(this.#path, line)
      })
      if (!created) throw new EkeyError("ERR_FILE", `there is a root key already, it is never overwritten: ${this.#path}`)
      return new Secret(key)
    } catch (error) {
      key.fill(0)
      throw error
    } finally {
      line.fill(0)
    }
  }
}

async function reading<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (cause) {
    if (cause instanceof EkeyError) throw cause
    throw new EkeyError("ERR_FILE", "the root key file could not be read or written", { cause })
  }
}

/** By hand in both directions, because Buffer's hexadecimal goes through strings, which can't be wiped. */
function encode(key: Uint8Array): Buffer {
  const line = Buffer.alloc(FILE_BYTES, NEWLINE)
  let at = PREFIX.copy(line)
  for (const byte of key) {
    at = line.writeUInt8(DIGITS.readUInt8(byte >> 4), at)
    at = line.writeUInt8(DIGITS.readUInt8(byte & 15), at)
  }
  return line
}

/** @returns `null` for anything but exactly what `encode` makes. */
function decode(line: Buffer): Buffer | null {
  if (line.length !== FILE_BYTES || !line.subarray(0, PREFIX.length).equals(PREFIX) || line[FILE_BYTES - 1] !== NEWLINE) return null
  const key = Buffer.alloc(ROOT_KEY_BYTES)
  for (let i = 0; i < ROOT_KEY_BYTES; i++) {
    const high = DIGITS.indexOf(line.readUInt8(PREFIX.length + 2 * i))
    const low = DIGITS.indexOf(line.readUInt8(PREFIX.length + 2 * i + 1))
    if (high < 0 || low < 0) {
      key.fill(0)
      return null
    }
    key[i] = high * 16 + low
  }
  return key
}
