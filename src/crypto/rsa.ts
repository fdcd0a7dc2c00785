import { constants, createHash, createPublicKey, generateKeyPair, sign, verify } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { promisify } from "node:util"
import { toBase64url } from "../base/bytes.ts"

const generate = promisify(generateKeyPair)

/** RSASSA-PSS with SHA-256 and a salt as long as the hash (RFC 8017, section 9.1). */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } as const

/** Bounds of keys from outside: below is weak, above costs a verifier time. */
const MIN_RSA_BITS = 2048
const MAX_RSA_BITS = 4096

/** A new private key, made off the main thread. Takes about half a second for the default of 3072 bits. */
export async function generateRsaKey(bits = 3072): Promise<KeyObject> {
  const { privateKey } = await generate("rsa", { modulusLength: bits, publicExponent: 65537 })
  return privateKey
}

/** RSASSA-PSS signature, SHA-256, salt of 32 bytes (RFC 8017, section 8.1), made off the main thread. */
export function signPss(key: KeyObject, data: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign("sha256", data, { key, ...PSS }, (error, signature) => {
      if (error) reject(error)
      else resolve(signature)
    })
  })
}

/** Whether `signature` is `signPss`'s over `data`. Never throws for any bytes of a signature. */
export function verifyPss(publicKey: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  if (!isAcceptableRsaKey(publicKey)) return false
  return verify("sha256", data, { key: publicKey, ...PSS }, signature)
}

/** Whether a public key has the only form used here: RSA of 2048 to 4096 bits with exponent 65537. */
export function isAcceptableRsaKey(publicKey: KeyObject): boolean {
  if (publicKey.asymmetricKeyType !== "rsa") return false
  const { modulusLength, publicExponent } = publicKey.asymmetricKeyDetails ?? {}
  return modulusLength !== undefined && modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS
    && publicExponent === 65537n
}

/** The public half of a private key; a public key is returned as it is. */
export function publicKeyOf(key: KeyObject): KeyObject {
  return key.type === "public" ? key : createPublicKey(key)
}

/** `sha256:` and the base64url SHA-256 of the DER SubjectPublicKeyInfo (the pin of RFC 7469, section 2.4). */
export function spkiPin(publicKey: KeyObject): string {
  const spki = publicKeyOf(publicKey).export({ type: "spki", format: "der" })
  return `sha256:${toBase64url(createHash("sha256").update(spki).digest())}`
}
