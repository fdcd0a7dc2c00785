import { NONCE_BYTES, seal } from "../../../src/crypto/aead.ts"
import { deriveKey } from "../../../src/crypto/derive.ts"
import { encodeFields, uint32 } from "../../../src/crypto/fields.ts"
import { RecordSealer } from "../../../src/crypto/sealed-record.ts"
import { hex, testBytes, vectorFile } from "./vector-file.ts"

const HEADER_BYTES = 33

/** Sealed with nonces of the vector's own, where the sealer takes random ones. */
export function sealedRecordVectors(): string {
  const tenant = "acme"
  const rootKey = testBytes("root key", 32)
  const sealer = new RecordSealer({ rootKey, tenant })
  const sealingKey = deriveKey(rootKey, "ekey-connector record sealing v1", [tenant])
  const ids = [{ user: "user-1@acme.example", version: 1 }, { user: "u", version: 4_294_967_295 }]
  return vectorFile("section 12", {
    tenant,
    rootKey: hex(rootKey),
    rootKeyId: hex(sealer.rootKeyId),
    sealingKey: hex(sealingKey.export()),
    fingerprintKey: hex(deriveKey(rootKey, "ekey-connector fingerprint v1", [tenant]).export()),
    vectors: ids.map((id) => {
      const ekey = testBytes(`record ${id.user}`, 32)
      const createdAtMs = 1_767_225_600_000
      const nonce = testBytes(`record nonce ${id.user}`, NONCE_BYTES)
      const header = sealer.seal(id, ekey, createdAtMs).subarray(0, HEADER_BYTES)
      const aad = encodeFields("ekey-connector record v1", [header, tenant, id.user, uint32(id.version)])
      return {
        ...id, createdAtMs, ekey: hex(ekey), fingerprint: hex(sealer.fingerprint(id, ekey)), nonce: hex(nonce), aad: hex(aad),
        record: hex(Buffer.concat([header, nonce, seal(sealingKey, nonce, aad, ekey)])),
      }
    }),
  })
}
