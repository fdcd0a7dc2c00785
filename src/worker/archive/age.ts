import { Decrypter, Encrypter } from "age-encryption"
import { EkeyError } from "../../base/errors.ts"

/**
 * scrypt stretches weak passphrases. An ekey has 256 bits of entropy and can't be guessed, so there
 * is nothing to stretch: 2^10 costs milliseconds and 1 MiB instead of a second and 256 MiB.
 */
const SCRYPT_LOG_N = 10

/** The whole header as this file writes it: one scrypt stanza of our work factor, and its MAC. */
const HEADER = /^age-encryption\.org\/v1\n-> scrypt [A-Za-z0-9+/]{22} 10\n[A-Za-z0-9+/]{43}\n--- [A-Za-z0-9+/]{43}\n/
const MAX_HEADER = 256

/**
 * Encrypts a stream as a standard age file (https://age-encryption.org/v1) with the ekey's text as
 * its passphrase: `age --decrypt` opens it too. Holds a few chunks of 64 KiB at a time. The library
 * wants the passphrase as a string, which can't be wiped; it lives until it is collected.
 */
export async function encrypt(plain: AsyncIterable<Uint8Array>, ekeyText: Uint8Array): Promise<AsyncIterable<Uint8Array>> {
  const age = new Encrypter()
  age.setPassphrase(passphrase(ekeyText))
  age.setScryptWorkFactor(SCRYPT_LOG_N)
  return age.encrypt(toStream(plain))
}

/**
 * Opens what `encrypt` made. Chunks come out as soon as each is proved; that nothing is missing at
 * the end is proved only when the stream ends without an error.
 * @throws EkeyError ERR_ARCHIVE, at once or while reading, for another ekey and for a file that was
 *   altered or cut alike.
 */
export async function* decrypt(sealed: AsyncIterable<Uint8Array>, ekeyText: Uint8Array): AsyncGenerator<Uint8Array> {
  try {
    const age = new Decrypter()
    age.addPassphrase(passphrase(ekeyText))
    yield* await age.decrypt(toStream(withKnownHeader(sealed)))
  } catch (cause) {
    throw new EkeyError("ERR_ARCHIVE", "the archive can't be opened: it is of another ekey, cut or altered", { cause })
  }
}

/** Passes the stream on once its header is one of ours: the library would collect an endless one in memory. */
async function* withKnownHeader(sealed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head: Buffer | null = Buffer.alloc(0)
  for await (const chunk of sealed) {
    if (head === null) {
      yield chunk
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length < MAX_HEADER) continue
    yield checkedHead(head)
    head = null
  }
  if (head !== null) yield checkedHead(head)
}

function checkedHead(head: Buffer): Buffer {
  if (!HEADER.test(head.toString("latin1", 0, MAX_HEADER))) throw new Error("not the header of an archive")
  return head
}

function passphrase(ekeyText: Uint8Array): string {
  return Buffer.from(ekeyText.buffer, ekeyText.byteOffset, ekeyText.byteLength).toString("latin1")
}

function toStream(bytes: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  return ReadableStream.from(bytes)
}
