import assert from "node:assert/strict"
import { assertStillValid } from "../../../src/wire/identity/validity.ts"
import type { RevocationCheck } from "../../../src/wire/identity/revocation.ts"
import type { VerifiedPeer } from "../../../src/wire/identity/verification.ts"
import { EkeyError } from "../../../src/base/errors.ts"
import { publicKeyOf } from "../../../src/crypto/rsa.ts"
import { testKey } from "../../support/identities.ts"

const SERIAL = "4".repeat(32)

describe("A peer that was verified before", () => {
  let peer: VerifiedPeer
  before(async () => {
    peer = { identity: { trustDomain: "backup.example", role: "worker", tenant: "acme", name: "w-1" }, serial: SERIAL, notAfterMs: 1_000, publicKey: publicKeyOf(await testKey(2)), certificate: new Uint8Array() }
  })

  const lists = (options: { revoked?: string; stale?: boolean } = {}): RevocationCheck => ({
    isRevoked: (role, serial) => `${role} ${serial}` === options.revoked,
    assertFresh: (role) => {
      assert.equal(role, "worker")
      if (options.stale) throw new EkeyError("ERR_REVOCATION_STALE", "old")
    },
  })

  it("is valid until its last millisecond", () => {
    assertStillValid(peer, lists(), 999)
    assert.throws(() => { assertStillValid(peer, lists(), 1_000) }, { code: "ERR_CERT_EXPIRED" })
  })

  it("is not, once its serial is revoked by its own role's authority", () => {
    assert.throws(() => { assertStillValid(peer, lists({ revoked: `worker ${SERIAL}` }), 0) }, { code: "ERR_CERT_REVOKED" })
    assertStillValid(peer, lists({ revoked: `connector ${SERIAL}` }), 0)
  })

  it("is not while nobody knows what is revoked; what an old list revoked stays so", () => {
    assert.throws(() => { assertStillValid(peer, lists({ stale: true }), 0) }, { code: "ERR_REVOCATION_STALE" })
    assert.throws(() => { assertStillValid(peer, lists({ stale: true, revoked: `worker ${SERIAL}` }), 0) }, { code: "ERR_CERT_REVOKED" })
  })
})
