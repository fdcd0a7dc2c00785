import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import { fromBase64url, toBase64url } from "../../../src/base/bytes.ts"
import { publicKeyOf, verifyPss } from "../../../src/crypto/rsa.ts"
import { parseCsr } from "../../../src/crypto/x509.ts"
import { acceptEnrolment, acceptRenewal, prepareEnrolment, prepareRenewal, renewalBytes } from "../../../src/wire/identity/certificate-request.ts"
import { proof } from "../../../src/wire/identity/token.ts"
import type { EnrolmentToken } from "../../../src/wire/identity/token.ts"
import { CertificateEnrolParams, CertificateRenewParams } from "../../../src/wire/messages/certificate.ts"
import type { CertificateEnrolResult } from "../../../src/wire/messages/certificate.ts"
import { START_MS } from "../../support/fake-clock.ts"
import { mintAuthorities, testKey, TRUST_DOMAIN } from "../../support/identities.ts"
import type { LeafOptions, TestAuthorities } from "../../support/identities.ts"

const REFUSED = { name: "EkeyError", code: "ERR_ENROLMENT" }
const decode = (text: string): Uint8Array => fromBase64url(text) ?? assert.fail("not base64url")

describe("Asking for a certificate", () => {
  let own: TestAuthorities
  let foreign: TestAuthorities
  let token: EnrolmentToken
  before(async () => {
    own = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
    token = {
      id: "AAAAAAAAAAAAAAAAAAAAAA",
      secret: createSecretKey(Buffer.alloc(32, 7)),
      identity: { trustDomain: TRUST_DOMAIN, role: "connector", tenant: "acme", name: "hq-1" },
      expiresAtMs: START_MS + 1000,
      pins: own.pins,
    }
  })

  const rootsOf = ({ roots }: TestAuthorities): CertificateEnrolResult["roots"] => (
    { gateway: [toBase64url(roots.gateway)], connector: [toBase64url(roots.connector)], worker: [toBase64url(roots.worker)] }
  )
  const answer = async (options: Partial<LeafOptions> = {}, from = own, roots = rootsOf(own)): Promise<CertificateEnrolResult> => ({
    certificate: toBase64url(await from.leaf({ role: "connector", name: "hq-1", privateKey: await testKey(1), ...options })), roots,
  })

  it("makes a key of 3072 bits and a request whose proof only the token's holder can make", async () => {
    const { privateKey, params } = await prepareEnrolment(token)
    assert.equal(privateKey.asymmetricKeyDetails?.modulusLength, 3072)
    assert.deepEqual(CertificateEnrolParams.parse(params), params)
    assert.deepEqual([params.role, params.tokenId], ["connector", token.id])
    const csr = decode(params.csr)
    const parsed = await parseCsr(csr)
    assert.equal(parsed.uri, `spiffe://${TRUST_DOMAIN}/tenant/acme/connector/hq-1`)
    assert.ok(parsed.publicKey.equals(publicKeyOf(privateKey)))
    assert.equal(params.proof, toBase64url(proof(token.secret, csr, "acme", "hq-1")))
  })

  it("sends neither the token's secret nor the private key", async () => {
    const { privateKey, params } = await prepareEnrolment(token, { privateKey: await testKey(1) })
    const sent = Buffer.concat([Buffer.from(JSON.stringify(params)), decode(params.csr), decode(params.proof)])
    const jwk = privateKey.export({ format: "jwk" })
    for (const secret of [token.secret.export(), ...[jwk.d, jwk.p, jwk.q].map((part) => decode(part ?? ""))]) {
      assert.ok(!sent.includes(Buffer.from(secret)))
      for (const encoding of ["hex", "base64", "base64url"] as const) assert.ok(!sent.includes(Buffer.from(secret).toString(encoding)))
    }
  })

  it("is repeated with the same key when asked to", async () => {
    const { privateKey, params } = await prepareEnrolment(token, { privateKey: await testKey(1) })
    assert.ok(privateKey.equals(await testKey(1)))
    assert.ok((await parseCsr(decode(params.csr))).publicKey.equals(publicKeyOf(await testKey(1))))
  })

  it("accepts the certificate of the token's identity for its own key, with the pinned roots", async () => {
    const identity = acceptEnrolment(token, await testKey(1), await answer(), START_MS)
    assert.deepEqual(identity.identity, token.identity)
    assert.equal(identity.notAfterMs, START_MS + 24 * 60 * 60_000)
    assert.ok(identity.trust.roots.worker[0]?.raw.equals(own.roots.worker))
    assert.match(identity.keyPem, /^-----BEGIN PRIVATE KEY-----/)
    assert.match(identity.certificatePem, /^-----BEGIN CERTIFICATE-----/)
  })

  const rows: readonly [string, () => Promise<CertificateEnrolResult>][] = [
    ["another key", async () => answer({ privateKey: await testKey(2) })],
    ["another name", () => answer({ name: "hq-2" })],
    ["another tenant", () => answer({ tenant: "other" })],
    ["another role, by that role's authority", () => answer({ role: "worker", name: "hq-1" })],
    ["the right role by another authority", () => answer({ signedBy: "gateway" })],
    ["another trust domain", () => answer({ uri: "spiffe://other.example/tenant/acme/connector/hq-1" })],
    ["a foreign authority", () => answer({}, foreign)],
    ["a foreign authority whose roots come along", () => answer({}, foreign, rootsOf(foreign))],
    ["a time that has passed", () => answer({ notAfterMs: START_MS })],
    ["a time to come", () => answer({ notBeforeMs: START_MS + 1000 })],
    ["a foreign worker root", () => answer({}, own, { ...rootsOf(own), worker: rootsOf(foreign).worker })],
    ["a foreign gateway root", () => answer({}, own, { ...rootsOf(own), gateway: rootsOf(foreign).gateway })],
    ["a foreign root beside the pinned one", () => answer({}, own, { ...rootsOf(own), worker: [...rootsOf(own).worker, ...rootsOf(foreign).worker] })],
    ["no worker root", () => answer({}, own, { ...rootsOf(own), worker: [] })],
    ["roots in each other's places", () => answer({}, own, { ...rootsOf(own), worker: rootsOf(own).gateway, gateway: rootsOf(own).worker })],
    ["a root as certificate", async () => ({ certificate: rootsOf(own).connector[0] ?? "", roots: (await answer()).roots })],
    ["no certificate", async () => ({ certificate: "", roots: (await answer()).roots })],
    ["text as certificate", async () => ({ certificate: "====", roots: (await answer()).roots })],
  ]
  for (const [name, make] of rows) {
    it(`refuses an answer with ${name}`, async () => {
      const result = await make()
      const key = await testKey(1)
      assert.throws(() => acceptEnrolment(token, key, result, START_MS), REFUSED)
    })
  }

  it("for renewal signs a new key's request with the current key, bound to certificate and time", async () => {
    const current = await own.identity({ role: "connector", name: "hq-1" })
    const { privateKey, params } = await prepareRenewal(current, { nowMs: START_MS })
    assert.deepEqual(CertificateRenewParams.parse(params), params)
    assert.ok(!publicKeyOf(privateKey).equals(publicKeyOf(current.privateKey)))
    const [csr, signature] = [decode(params.csr), decode(params.signature)]
    assert.ok(verifyPss(publicKeyOf(current.privateKey), renewalBytes(csr, current.certificateDer, START_MS), signature))
    assert.equal(verifyPss(publicKeyOf(current.privateKey), renewalBytes(csr, current.certificateDer, START_MS + 1), signature), false)
    assert.equal(params.certificate, toBase64url(current.certificateDer))
  })

  it("for renewal accepts its own identity for the new key, and no roots", async () => {
    const current = await own.identity({ role: "connector", name: "hq-1" })
    const key = await testKey(3)
    const renewed = acceptRenewal(current, key, await answer({ privateKey: key }, own, rootsOf(foreign)), START_MS)
    assert.equal(renewed.trust, current.trust)
    assert.ok(renewed.privateKey.equals(key))
  })

  it("for renewal refuses the old key, another name, another authority and another role", async () => {
    const current = await own.identity({ role: "connector", name: "hq-1" })
    const privateKey = await testKey(3)
    const answers = [
      await answer(),
      await answer({ privateKey, name: "hq-2" }),
      await answer({ privateKey, tenant: "other" }),
      await answer({ privateKey, role: "worker" }),
      await answer({ privateKey, signedBy: "gateway" }),
      await answer({ privateKey }, foreign, rootsOf(foreign)),
      await answer({ privateKey, notAfterMs: START_MS }),
    ]
    for (const result of answers) assert.throws(() => acceptRenewal(current, privateKey, result, START_MS), REFUSED)
  })
})
