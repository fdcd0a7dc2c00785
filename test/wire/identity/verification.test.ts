import assert from "node:assert/strict"
import { X509Certificate, generateKeyPairSync } from "node:crypto"
import { issueLeaf, issueRoot } from "../../../src/crypto/x509.ts"
import { publicKeyOf } from "../../../src/crypto/rsa.ts"
import { RevocationLists } from "../../../src/wire/identity/revocation.ts"
import type { Role } from "../../../src/wire/identity/spiffe.ts"
import { createTrust } from "../../../src/wire/identity/trust.ts"
import { verifyPeer } from "../../../src/wire/identity/verification.ts"
import type { PeerVerification, VerifiedPeer } from "../../../src/wire/identity/verification.ts"
import { START_MS } from "../../support/fake-clock.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../../support/identities.ts"
import type { LeafOptions, TestAuthorities } from "../../support/identities.ts"
import { signOdd } from "./odd-certificates.ts"

const DAY_MS = 24 * 60 * 60_000
const ID = `spiffe://${TRUST_DOMAIN}/tenant/acme/worker/worker-1`

describe("A peer's certificate", () => {
  let own: TestAuthorities
  let foreign: TestAuthorities
  let revocations: RevocationLists
  const REVOKED = testSerial()

  before(async () => {
    own = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
    revocations = await own.freshRevocations({ worker: [REVOKED] })
  })

  const verify = (der: Uint8Array | undefined, changes: Partial<PeerVerification> = {}): VerifiedPeer => verifyPeer({
    certificate: der && new X509Certificate(der), expect: { role: "worker", tenant: "acme" }, trust: own.trust, revocations, nowMs: START_MS, ...changes,
  })
  const refuses = (code: string, der: Uint8Array | undefined, changes: Partial<PeerVerification> = {}): void => {
    assert.throws(() => verify(der, changes), { name: "EkeyError", code })
  }
  const worker = (options: Partial<LeafOptions> = {}): Promise<Buffer> => own.leaf({ role: "worker", ...options })

  for (const role of ["gateway", "connector", "worker"] as const) {
    it(`of a ${role} is accepted from its own authority, and says who it is`, async () => {
      const der = await own.leaf({ role })
      const peer = verify(der, { expect: { role } })
      assert.deepEqual(peer.identity, { trustDomain: TRUST_DOMAIN, role, tenant: role === "gateway" ? null : "acme", name: `${role}-1` })
      assert.equal(peer.serial, new X509Certificate(der).serialNumber.toLowerCase())
      assert.equal(peer.notAfterMs, START_MS + DAY_MS)
      assert.deepEqual(peer.certificate, der)
      assert.ok(peer.publicKey.equals(new X509Certificate(der).publicKey))
    })
  }

  it("that is missing is ERR_CERT_MISSING", () => { refuses("ERR_CERT_MISSING", undefined) })

  it("of another authority is ERR_CERT_AUTHORITY, though all names are the same", async () => {
    refuses("ERR_CERT_AUTHORITY", await foreign.leaf({ role: "worker" }))
  })

  it("whose signature or content was changed is ERR_CERT_AUTHORITY", async () => {
    const der = await worker()
    for (const at of [der.indexOf("worker-1"), der.indexOf("tenant/acme"), der.length - 1]) {
      const changed = Buffer.from(der)
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      refuses("ERR_CERT_AUTHORITY", changed)
    }
  })

  it("signed by itself is ERR_CERT_SELF_SIGNED, whatever it says", async () => {
    for (const uri of [ID, "https://example.com"]) {
      refuses("ERR_CERT_SELF_SIGNED", await issueRoot({
        privateKey: await testKey(3), commonName: "worker-1", uri, serial: testSerial(), notBeforeMs: START_MS, notAfterMs: START_MS + DAY_MS,
      }))
    }
  })

  it("that is an authority's own root is ERR_CERT_SELF_SIGNED", () => { refuses("ERR_CERT_SELF_SIGNED", own.roots.worker) })

  it("that only bears the name of its issuer is not taken for self-signed", async () => {
    const privateKey = await testKey(3)
    const pretender = await issueLeaf({
      issuer: { certificate: foreign.roots.worker, privateKey }, publicKey: publicKeyOf(await testKey(2)), commonName: "ekey worker authority",
      uri: ID, serial: testSerial(), notBeforeMs: START_MS, notAfterMs: START_MS + DAY_MS, usage: "client",
    })
    refuses("ERR_CERT_AUTHORITY", pretender)
  })

  it("signed by a leaf of the right authority is ERR_CERT_AUTHORITY: chains have no middle", async () => {
    const middle = await worker({ name: "ca" })
    refuses("ERR_CERT_AUTHORITY", await issueLeaf({
      issuer: { certificate: middle, privateKey: await testKey(2) }, publicKey: publicKeyOf(await testKey(3)), commonName: "worker-1",
      uri: ID, serial: testSerial(), notBeforeMs: START_MS, notAfterMs: START_MS + DAY_MS, usage: "client",
    }))
  })

  for (const signedBy of ["gateway", "connector", "worker"] as const) {
    for (const role of ["gateway", "connector", "worker"] as const) {
      if (role === signedBy) continue
      it(`of a ${role} by the ${signedBy} authority is ERR_CERT_ROLE, whichever role is expected`, async () => {
        const der = await own.leaf({ role, signedBy })
        for (const expected of [role, signedBy] satisfies Role[]) refuses("ERR_CERT_ROLE", der, { expect: { role: expected } })
      })
    }
  }

  it("of another role than expected is ERR_CERT_ROLE", async () => {
    refuses("ERR_CERT_ROLE", await own.leaf({ role: "connector" }))
    refuses("ERR_CERT_ROLE", await own.leaf({ role: "gateway" }))
    refuses("ERR_CERT_ROLE", await worker(), { expect: { role: "gateway" } })
  })

  it("of another tenant is ERR_CERT_TENANT; without an expectation every tenant will do", async () => {
    const der = await worker({ tenant: "other" })
    refuses("ERR_CERT_TENANT", der)
    assert.equal(verify(der, { expect: { role: "worker" } }).identity.tenant, "other")
  })

  it("is valid from its first millisecond, and not one before", async () => {
    const der = await worker({ notBeforeMs: START_MS })
    refuses("ERR_CERT_NOT_YET_VALID", der, { nowMs: START_MS - 1 })
    verify(der, { nowMs: START_MS })
  })

  it("has expired at its last second, and not one millisecond before", async () => {
    const der = await worker({ notAfterMs: START_MS + 60_000 })
    verify(der, { nowMs: START_MS + 59_999 })
    refuses("ERR_CERT_EXPIRED", der, { nowMs: START_MS + 60_000 })
  })

  it("is refused at a time that is no number", async () => {
    refuses("ERR_CERT_NOT_YET_VALID", await worker(), { nowMs: NaN })
  })

  it("ends with its authority's root, however long it says itself", async () => {
    const privateKey = await testKey(3)
    const root = await issueRoot({
      privateKey, commonName: "ekey worker authority", uri: `spiffe://${TRUST_DOMAIN}`, serial: testSerial(),
      notBeforeMs: START_MS, notAfterMs: START_MS + 60_000,
    })
    const der = await issueLeaf({
      issuer: { certificate: root, privateKey }, publicKey: publicKeyOf(await testKey(2)), commonName: "worker-1", uri: ID, serial: testSerial(),
      notBeforeMs: START_MS - DAY_MS, notAfterMs: START_MS + DAY_MS, usage: "client",
    })
    const trust = createTrust({ trustDomain: TRUST_DOMAIN, roots: { worker: [root] } })
    assert.equal(verify(der, { trust }).notAfterMs, START_MS + 60_000)
    refuses("ERR_CERT_EXPIRED", der, { trust, nowMs: START_MS + 60_000 })
    refuses("ERR_CERT_NOT_YET_VALID", der, { trust, nowMs: START_MS - 1 })
  })

  it("that was revoked is ERR_CERT_REVOKED, also by a list that has gone stale", async () => {
    const der = await worker({ serial: REVOKED, notAfterMs: START_MS + 10 * DAY_MS })
    refuses("ERR_CERT_REVOKED", der)
    refuses("ERR_CERT_REVOKED", der, { nowMs: START_MS + 2 * DAY_MS })
  })

  it("of another role with a revoked serial is not revoked: each authority speaks of its own", async () => {
    verify(await own.leaf({ role: "connector", serial: REVOKED }), { expect: { role: "connector" } })
  })

  it("is ERR_REVOCATION_STALE without a list of its role, and after a list's last millisecond", async () => {
    const der = await worker({ notAfterMs: START_MS + 10 * DAY_MS })
    verify(der, { nowMs: START_MS + DAY_MS - 1 })
    refuses("ERR_REVOCATION_STALE", der, { nowMs: START_MS + DAY_MS })
    const lists = new RevocationLists({ trust: own.trust, clock: { now: () => START_MS } })
    lists.apply(await own.revocationList("connector"))
    refuses("ERR_REVOCATION_STALE", der, { revocations: lists })
  })

  it("may be judged before its revocation is known, but only when asked for by name", async () => {
    verify(await worker({ serial: REVOKED }), { revocations: "later" })
    refuses("ERR_CERT_EXPIRED", await worker(), { revocations: "later", nowMs: START_MS + DAY_MS })
  })

  const malformed: readonly [string, Partial<LeafOptions>][] = [
    ["a web address", { uri: "https://backup.example/" }],
    ["an unknown kind of SPIFFE ID", { uri: `spiffe://${TRUST_DOMAIN}/tenant/acme/admin/x` }],
    ["an escaped SPIFFE ID", { uri: `spiffe://${TRUST_DOMAIN}/tenant/acme/worker/w%31` }],
    ["a SPIFFE ID with a comma and a second name", { uri: `${ID}, URI:${ID}` }],
    ["a SPIFFE ID with a quote", { uri: `"${ID}"` }],
    ["a SPIFFE ID with a zero byte", { uri: `${ID}\u0000.example` }],
    ["a SPIFFE ID with a newline", { uri: `${ID}\n` }],
    ["an empty name", { uri: "" }],
    ["another trust domain", { uri: "spiffe://other.example/tenant/acme/worker/worker-1" }],
    ["a server's usage", { usage: "server" }],
    ["a short serial", { serial: "41".repeat(8) }],
  ]
  for (const [name, options] of malformed) {
    it(`with ${name} is ERR_CERT_MALFORMED, though its authority signed it`, async () => {
      refuses("ERR_CERT_MALFORMED", await worker(options))
    })
  }

  it("with a key that is not RSA of 2048 to 4096 bits is ERR_CERT_MALFORMED", async () => {
    refuses("ERR_CERT_MALFORMED", await worker({ privateKey: generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey }))
  })

  it("that may sign others is ERR_CERT_MALFORMED, though its authority signed it", async () => {
    const root = { certificate: own.roots.worker, privateKey: own.keys.worker }
    const names = [{ type: 6, value: ID }]
    refuses("ERR_CERT_MALFORMED", signOdd(root, await testKey(2), { names, ca: true }))
  })

  it("with two names, a DNS name beside the SPIFFE ID, or none is ERR_CERT_MALFORMED", async () => {
    const root = { certificate: own.roots.worker, privateKey: own.keys.worker }
    const key = await testKey(2)
    const id = { type: 6, value: ID }
    verify(signOdd(root, key, { names: [id] })) // So that the rows below fail for their names alone.
    for (const names of [[id, id], [id, { type: 6, value: ID.replace("acme", "other") }], [id, { type: 2, value: "worker.example" }], [{ type: 2, value: ID }], []]) {
      refuses("ERR_CERT_MALFORMED", signOdd(root, key, { names }))
    }
  })

  it("without an extended key usage, or with two, is ERR_CERT_MALFORMED", async () => {
    const root = { certificate: own.roots.worker, privateKey: own.keys.worker }
    for (const usages of [[], ["clientAuth", "serverAuth"], ["codeSigning"]]) {
      refuses("ERR_CERT_MALFORMED", signOdd(root, await testKey(2), { names: [{ type: 6, value: ID }], usages }))
    }
  })
})
