import { AEAD_EXPORT_ONLY, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke"
import type { CryptoKey, KeyPair } from "hpke"
import { EkeyError } from "../base/errors.ts"

/**
 * HPKE, RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256) (0x0020), HKDF-SHA256 (0x0001), export-only
 * (0xFFFF). Only the secret export of section 5.3 is used: what is sealed under it is plain
 * AES-256-GCM, ten times cheaper for each release than an HPKE context's own seal.
 */
const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_EXPORT_ONLY)

/** Derives `length` bytes bound to `context`, RFC 9180 section 5.3. */
export type Exporter = (context: Uint8Array, length: number) => Promise<Uint8Array>

/** The receiving end's fresh key: one for each session, forgotten with it. */
export interface KemKey {
  /** 32 bytes, to be sent to the other end. */
  readonly publicKey: Uint8Array
  readonly keyPair: KeyPair<CryptoKey>
}

export async function generateKemKey(): Promise<KemKey> {
  const keyPair = await suite.GenerateKeyPair(false)
  return { publicKey: await suite.SerializePublicKey(keyPair.publicKey), keyPair }
}

/** @throws EkeyError ERR_SESSION_PROOF when the public key is none. */
export async function encapsulate(publicKey: Uint8Array, info: Uint8Array): Promise<{ encapsulatedKey: Uint8Array; exporter: Exporter }> {
  try {
    const { encapsulatedSecret, ctx } = await suite.SetupSender(await suite.DeserializePublicKey(publicKey), { info })
    return { encapsulatedKey: encapsulatedSecret, exporter: (context, length) => ctx.Export(context, length) }
  } catch (cause) {
    throw new EkeyError("ERR_SESSION_PROOF", "the key agreement failed", { cause })
  }
}

/** @throws EkeyError ERR_SESSION_PROOF when the encapsulated key is none. */
export async function decapsulate(key: KemKey, encapsulatedKey: Uint8Array, info: Uint8Array): Promise<Exporter> {
  try {
    const context = await suite.SetupRecipient(key.keyPair, encapsulatedKey, { info })
    return (exporterContext, length) => context.Export(exporterContext, length)
  } catch (cause) {
    throw new EkeyError("ERR_SESSION_PROOF", "the key agreement failed", { cause })
  }
}
