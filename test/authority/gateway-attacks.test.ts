import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import { mintToken } from "../../src/authority/admin.ts"
import { EkeyError } from "../../src/base/errors.ts"
import { fromBase64url, toBase64url } from "../../src/base/bytes.ts"
import { publicKeyOf, signPss } from "../../src/crypto/rsa.ts"
import { createCsr, issueLeaf, issueRoot, parseCertificate } from "../../src/crypto/x509.ts"
import { acceptEnrolment, acceptRenewal, prepareEnrolment, prepareRenewal, renewalBytes } from "../../src/wire/identity/certificate-request.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { RevocationLists, revocationBytes } from "../../src/wire/identity/revocation.ts"
import { formatSpiffeId } from "../../src/wire/identity/spiffe.ts"
import { proof } from "../../src/wire/identity/token.ts"
import type { EnrolmentToken } from "../../src/wire/identity/token.ts"
import type { Trust } from "../../src/wire/identity/trust.ts"
import { verifyPeer } from "../../src/wire/identity/verification.ts"
import type { CertificateEnrolParams, CertificateEnrolResult, CertificateRenewParams } from "../../src/wire/messages/certificate.ts"
import { START_MS } from "../support/fake-clock.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../support/identities.ts"
import { attackerKey, removeTemplate, Scene } from "./scene.ts"

const ACME = { tenant: "acme", name: "hq-1" }
const MEMBERS = ["connector", "worker"] as const
const decode = (text: string): Uint8Array => fromBase64url(text) ?? assert.fail("not base64url")

/**
 * The gateway is the attacker: it has its own certificate and key, and has seen every message of an
 * enrolment and a renewal of a connector and a worker. What it may never have is a certificate for
 * a key of its own that any verifier takes for a connector's or a worker's.
 */
describe("A gateway that lies", () => {
  let scene: Scene
  let gateway: LocalIdentity
  let trust: Trust
  /** Everything that passed through the gateway. */
  const seen = new Map<"connector" | "worker", { enrol: CertificateEnrolParams; answer: CertificateEnrolResult; renew: CertificateRenewParams }>()

  before(async () => {
    scene = await Scene.open()
    gateway = await scene.enrol("gateway", "gw-1", await attackerKey())
    trust = gateway.trust
    for (const role of MEMBERS) {
      const authority = await scene.authority(role)
      const token = await mintToken(scene.place(role), ACME)
      const { privateKey, params: enrol } = await prepareEnrolment(token, { privateKey: await testKey(1) })
      const answer = await authority.enrol(enrol)
      const identity = acceptEnrolment(token, privateKey, answer, START_MS)
      const { params: renew } = await prepareRenewal(identity, { privateKey: await testKey(2), nowMs: START_MS })
      await authority.renew(renew)
      seen.set(role, { enrol, answer, renew })
    }
  })
  after(async () => {
    await scene.close()
    await removeTemplate()
  })

  const relayed = (role: "connector" | "worker"): { enrol: CertificateEnrolParams; answer: CertificateEnrolResult; renew: CertificateRenewParams } => (
    seen.get(role) ?? assert.fail("nothing was relayed")
  )

  /** Whether any verifier takes the certificate for a connector's or a worker's. */
  const isAccepted = (der: Uint8Array): boolean => MEMBERS.some((role) => {
    try {
      verifyPeer({ certificate: parseCertificate(der), expect: { role }, trust, revocations: "later", nowMs: scene.clock.now() })
      return true
    } catch (error) {
      assert.ok(error instanceof EkeyError)
      return false
    }
  })

  /** Sends a request to its authority; what comes back, if anything, must be worthless to the attacker. */
  const gainsNothing = async (attempt: Promise<CertificateEnrolResult>): Promise<void> => {
    const [outcome] = await Promise.allSettled([attempt])
    if (outcome.status === "rejected") {
      assert.ok(outcome.reason instanceof EkeyError)
      return
    }
    const der = decode(outcome.value.certificate)
    const isItsOwn = parseCertificate(der).publicKey.equals(publicKeyOf(await attackerKey()))
    assert.equal(isItsOwn && isAccepted(der), false)
  }

  for (const role of MEMBERS) {
    const uri = formatSpiffeId({ trustDomain: TRUST_DOMAIN, role, ...ACME })
    const ownCsr = async (asked = uri): Promise<Buffer> => createCsr({ privateKey: await attackerKey(), commonName: "hq-1", uri: asked })
    /** A fresh token of the customer's, whose secret the gateway never sees. */
    const fresh = async (name = "hq-9"): Promise<{ token: EnrolmentToken; params: CertificateEnrolParams }> => {
      const token = await mintToken(scene.place(role), { tenant: "acme", name })
      return { token, params: (await prepareEnrolment(token, { privateKey: await testKey(3) })).params }
    }

    it(`gains nothing by its own certificate where a ${role} is expected`, () => {
      assert.equal(isAccepted(gateway.certificateDer), false)
    })

    it(`gains nothing by putting its own request into a ${role}'s enrolment, fresh or used`, async () => {
      const authority = await scene.authority(role)
      const { params } = await fresh()
      await assert.rejects(authority.enrol({ ...params, csr: toBase64url(await ownCsr(uri.replace("hq-1", "hq-9"))) }), { code: "ERR_TOKEN" })
      await assert.rejects(authority.enrol({ ...relayed(role).enrol, csr: toBase64url(await ownCsr()) }), { code: "ERR_TOKEN" })
      await authority.enrol(params) // The customer's own request still works.
    })

    it(`gains nothing by changing any byte of a ${role}'s request`, async () => {
      const authority = await scene.authority(role)
      const { params } = await fresh()
      const csr = decode(params.csr)
      for (let at = 0; at < csr.length; at += 7) {
        const changed = Buffer.from(csr)
        changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
        await assert.rejects(authority.enrol({ ...params, csr: toBase64url(changed) }), { code: "ERR_TOKEN" })
      }
    })

    it(`gains nothing by a proof that it saw, for another name, tenant, role or token of a ${role}`, async () => {
      const { enrol } = relayed(role)
      const { params: other } = await fresh("hq-8")
      const authority = await scene.authority(role)
      await assert.rejects(authority.enrol({ ...enrol, tokenId: other.tokenId }), { code: "ERR_TOKEN" })
      await assert.rejects(authority.enrol({ ...other, proof: enrol.proof }), { code: "ERR_TOKEN" })
      await assert.rejects(authority.enrol({ ...other, csr: enrol.csr }), { code: "ERR_TOKEN" })
      for (const elsewhere of ["gateway", "connector", "worker"] as const) {
        if (elsewhere === role) continue
        const others = await scene.authority(elsewhere)
        await assert.rejects(others.enrol(enrol), { code: "ERR_TOKEN" })
        await assert.rejects(others.enrol({ ...enrol, role: elsewhere }), { code: "ERR_TOKEN" })
      }
    })

    it(`gains nothing by guessing a ${role} token's secret from what it knows`, async () => {
      const { token, params } = await fresh("hq-7")
      const csr = await ownCsr(uri.replace("hq-1", "hq-7"))
      for (const guess of [Buffer.alloc(32), decode(params.proof), Buffer.from(token.id), Buffer.alloc(0)]) {
        const guessed = toBase64url(proof(createSecretKey(guess), csr, "acme", "hq-7"))
        await assert.rejects((await scene.authority(role)).enrol({ ...params, csr: toBase64url(csr), proof: guessed }), { code: "ERR_TOKEN" })
      }
    })

    it(`gains nothing by replaying a ${role}'s enrolment or renewal as it was`, async () => {
      const authority = await scene.authority(role)
      await gainsNothing(authority.enrol(relayed(role).enrol))
      await gainsNothing(authority.renew(relayed(role).renew))
      assert.equal((await authority.enrol(relayed(role).enrol)).certificate, relayed(role).answer.certificate)
    })

    it(`gains nothing by renewing with its own certificate at the ${role} authority`, async () => {
      const authority = await scene.authority(role)
      const { params } = await prepareRenewal(gateway, { privateKey: await testKey(8), nowMs: START_MS })
      await assert.rejects(authority.renew(params), { code: "ERR_CERT_ROLE" })
      await assert.rejects(authority.renew({ ...params, role }), { code: "ERR_CERT_AUTHORITY" })
    })

    it(`gains nothing by renewing its own certificate into a ${role}'s at the gateway authority`, async () => {
      const authority = await scene.authority("gateway")
      const csr = await createCsr({ privateKey: await testKey(8), commonName: "hq-1", uri })
      const signature = await signPss(gateway.privateKey, renewalBytes(csr, gateway.certificateDer, START_MS))
      const params = {
        role: "gateway" as const, certificate: toBase64url(gateway.certificateDer), csr: toBase64url(csr), issuedAtMs: START_MS,
        signature: toBase64url(signature), deadlineMs: 1000,
      }
      await assert.rejects(authority.renew(params), { code: "ERR_CERT_MALFORMED" })
    })

    it(`gains nothing by a ${role}'s renewal with its own request, signature or both`, async () => {
      const authority = await scene.authority(role)
      const { renew } = relayed(role)
      const csr = await ownCsr()
      const signature = toBase64url(await signPss(await attackerKey(), renewalBytes(csr, decode(renew.certificate), START_MS)))
      await assert.rejects(authority.renew({ ...renew, csr: toBase64url(csr) }), { code: "ERR_SIGNATURE" })
      await assert.rejects(authority.renew({ ...renew, csr: toBase64url(csr), signature }), { code: "ERR_SIGNATURE" })
      await assert.rejects(authority.renew({ ...renew, csr: toBase64url(csr), issuedAtMs: START_MS + 1 }), { code: "ERR_SIGNATURE" })
    })

    it(`gains nothing by a certificate that it signs itself as a ${role}, with whatever it has`, async () => {
      const key = await attackerKey()
      const validity = { serial: testSerial(), notBeforeMs: START_MS, notAfterMs: START_MS + 1_000_000 }
      const issuers = [
        gateway.certificateDer, decode(relayed(role).answer.certificate), trust.roots[role][0]?.raw ?? assert.fail(), trust.roots.gateway[0]?.raw ?? assert.fail(),
        await issueRoot({ ...validity, privateKey: key, commonName: `ekey ${role} authority`, uri: `spiffe://${TRUST_DOMAIN}` }),
      ]
      for (const certificate of issuers) {
        const forged = await issueLeaf({ ...validity, issuer: { certificate, privateKey: key }, publicKey: publicKeyOf(key), commonName: "hq-1", uri, usage: "client" })
        assert.equal(isAccepted(forged), false)
      }
      assert.equal(isAccepted(await issueRoot({ ...validity, privateKey: key, commonName: "hq-1", uri })), false)
    })

    it(`can't give a ${role} other roots or another certificate in the answer`, async () => {
      const { token, params } = await fresh("hq-6")
      const answer = await (await scene.authority(role)).enrol(params)
      const foreign = await mintAuthorities({ firstKey: 110 })
      const key = await testKey(3)
      const own = toBase64url(foreign.roots[role])
      const forged = toBase64url(await foreign.leaf({ role, name: "hq-6", privateKey: key }))
      const rows: CertificateEnrolResult[] = [
        { ...answer, roots: { ...answer.roots, gateway: [toBase64url(foreign.roots.gateway)] } },
        { ...answer, roots: { ...answer.roots, connector: [toBase64url(foreign.roots.connector)] } },
        { ...answer, roots: { ...answer.roots, worker: [toBase64url(foreign.roots.worker)] } },
        { ...answer, roots: { ...answer.roots, connector: answer.roots.worker, worker: answer.roots.connector } },
        { ...answer, roots: { ...answer.roots, [role]: [...answer.roots[role], own] } },
        { certificate: forged, roots: answer.roots },
        { certificate: forged, roots: { ...answer.roots, [role]: [own] } },
        { certificate: relayed(role).answer.certificate, roots: answer.roots },
        { certificate: toBase64url(gateway.certificateDer), roots: answer.roots },
      ]
      for (const row of rows) assert.throws(() => acceptEnrolment(token, key, row, START_MS), { code: "ERR_ENROLMENT" })
      const identity = acceptEnrolment(token, key, answer, START_MS)
      for (const row of rows.slice(5)) assert.throws(() => acceptRenewal(identity, key, row, START_MS), { code: "ERR_ENROLMENT" })
    })
  }

  it("can't revoke, and can't hide a revocation behind a list of its own or an older one", async () => {
    const lists = new RevocationLists({ trust, clock: scene.clock })
    const authority = await scene.authority("worker")
    const older = await authority.revocationList()
    const list = { ...older, number: older.number + 5, serials: ["41".repeat(16)] }
    for (const key of [gateway.privateKey, await testKey(1)]) {
      assert.throws(() => { lists.apply({ ...list, signature: toBase64url(Buffer.alloc(256)) }) }, { code: "ERR_REVOCATION_INVALID" })
      const signature = toBase64url(await signPss(key, revocationBytes(list)))
      assert.throws(() => { lists.apply({ ...list, signature }) }, { code: "ERR_REVOCATION_INVALID" })
    }
    // Its own authority's list says nothing about workers.
    const gateways = await (await scene.authority("gateway")).revocationList()
    assert.throws(() => { lists.apply({ ...gateways, role: "worker" }) }, { code: "ERR_REVOCATION_INVALID" })
  })
})
