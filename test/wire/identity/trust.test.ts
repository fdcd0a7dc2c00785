import assert from "node:assert/strict"
import { issueRoot } from "../../../src/crypto/x509.ts"
import { createTrust, findSigner } from "../../../src/wire/identity/trust.ts"
import { parseCertificate } from "../../../src/crypto/x509.ts"
import { START_MS } from "../../support/fake-clock.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"

const REFUSED = { name: "EkeyError", code: "ERR_CERT_AUTHORITY" }

describe("Trust", () => {
  let own: TestAuthorities
  let foreign: TestAuthorities
  before(async () => {
    own = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
  })

  const lists = (roots: TestAuthorities["roots"]): { gateway: Uint8Array[]; connector: Uint8Array[]; worker: Uint8Array[] } => (
    { gateway: [roots.gateway], connector: [roots.connector], worker: [roots.worker] }
  )

  it("takes the pinned roots, one for each role", () => {
    const trust = createTrust({ trustDomain: TRUST_DOMAIN, roots: lists(own.roots), pins: own.pins })
    assert.ok(trust.roots.worker[0]?.raw.equals(own.roots.worker))
  })

  it("believes nobody of a role without a root", async () => {
    const trust = createTrust({ trustDomain: TRUST_DOMAIN, roots: { gateway: [own.roots.gateway] } })
    assert.equal(findSigner(trust, parseCertificate(await own.leaf({ role: "worker" }))), null)
  })

  it("takes an old and a new root of one role while they overlap", async () => {
    const trust = createTrust({ trustDomain: TRUST_DOMAIN, roots: { worker: [own.roots.worker, foreign.roots.worker] } })
    for (const authorities of [own, foreign]) {
      assert.equal(findSigner(trust, parseCertificate(await authorities.leaf({ role: "worker" })))?.role, "worker")
    }
  })

  for (const role of ["gateway", "connector", "worker"] as const) {
    it(`refuses a foreign root in the place of the pinned ${role} authority's`, () => {
      const roots = { ...lists(own.roots), [role]: [foreign.roots[role]] }
      assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots, pins: own.pins }), REFUSED)
    })

    it(`refuses a foreign root beside the pinned ${role} authority's, and none at all`, () => {
      for (const list of [[own.roots[role], foreign.roots[role]], [own.roots[role], own.roots[role]], []]) {
        assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots: { ...lists(own.roots), [role]: list }, pins: own.pins }), REFUSED)
      }
    })
  }

  it("refuses roots in each other's places, even where the pins are exchanged too", () => {
    const roots = { ...lists(own.roots), connector: [own.roots.worker], worker: [own.roots.connector] }
    const pins = { ...own.pins, connector: own.pins.worker, worker: own.pins.connector }
    assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots, pins }), REFUSED)
  })

  it("refuses one key as root of two roles", async () => {
    const worker = await rootOf("worker", 101)
    assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots: { connector: [own.roots.connector], worker: [worker] } }), REFUSED)
  })

  it("refuses what is no root of this trust domain: a leaf, a root of another, bytes", async () => {
    const rows = [await own.leaf({ role: "worker" }), (await mintAuthorities({ trustDomain: "other.example" })).roots.worker, Buffer.from("root"), Buffer.alloc(5000)]
    for (const row of rows) assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots: { worker: [row] } }), REFUSED)
    assert.throws(() => createTrust({ trustDomain: "Not A Domain", roots: {} }), REFUSED)
  })

  it("refuses a root whose signature was changed", () => {
    const changed = Buffer.from(own.roots.worker)
    changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1)
    assert.throws(() => createTrust({ trustDomain: TRUST_DOMAIN, roots: { worker: [changed] } }), REFUSED)
  })

  async function rootOf(role: string, key: number): Promise<Buffer> {
    return await issueRoot({
      privateKey: await testKey(key), commonName: `ekey ${role} authority`, uri: `spiffe://${TRUST_DOMAIN}`, serial: testSerial(),
      notBeforeMs: START_MS, notAfterMs: START_MS + 1_000_000,
    })
  }
})
