import assert from "node:assert/strict"
import { rmSync } from "node:fs"
import { readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { mintToken, revoke } from "../../src/authority/admin.ts"
import type { Authority } from "../../src/authority/authority.ts"
import { EkeyError } from "../../src/base/errors.ts"
import { toBase64url } from "../../src/base/bytes.ts"
import { createCsr, parseCertificate } from "../../src/crypto/x509.ts"
import { acceptEnrolment, prepareEnrolment } from "../../src/wire/identity/certificate-request.ts"
import { formatToken, parseToken, proof } from "../../src/wire/identity/token.ts"
import type { EnrolmentToken } from "../../src/wire/identity/token.ts"
import type { CertificateEnrolParams } from "../../src/wire/messages/certificate.ts"
import { START_MS } from "../support/fake-clock.ts"
import { testKey } from "../support/identities.ts"
import { removeTemplate, Scene } from "./scene.ts"

const DAY_MS = 24 * 60 * 60_000
const ACME = { tenant: "acme", name: "hq-1" }

describe("Enrolment at an authority", () => {
  let scene: Scene
  let authority: Authority
  let token: EnrolmentToken
  beforeEach(async () => {
    scene = await Scene.open()
    authority = await scene.authority("connector")
    token = await mintToken(scene.place("connector"), ACME)
  })
  afterEach(async () => { await scene.close() })
  after(removeTemplate)

  const request = async (key = 1, of = token): Promise<CertificateEnrolParams> => (await prepareEnrolment(of, { privateKey: await testKey(key) })).params
  /** Every refusal is the same to the peer, and named in the log. */
  const refuses = async (reason: string, params: CertificateEnrolParams, by = authority): Promise<void> => {
    await assert.rejects(by.enrol(params), (error) => {
      assert.ok(error instanceof EkeyError)
      assert.deepEqual([error.code, error.message, error.cause], ["ERR_TOKEN", "the enrolment token is not accepted", undefined])
      return true
    })
    const last = scene.events.at(-1)
    assert.equal(last?.event, "certificate enrolment refused")
    assert.equal(last.fields["reason"], reason)
  }

  const lives = [["gateway", 30, "1.3.6.1.5.5.7.3.1"], ["connector", 30, "1.3.6.1.5.5.7.3.2"], ["worker", 1, "1.3.6.1.5.5.7.3.2"]] as const
  for (const [role, days, usage] of lives) {
    it(`gives a ${role} a certificate of ${String(days)} days that begins five minutes ago`, async () => {
      const identity = await scene.enrol(role, `${role}-1`, await testKey(1))
      const certificate = parseCertificate(identity.certificateDer)
      assert.equal(certificate.validFromDate.getTime(), START_MS - 5 * 60_000)
      assert.equal(certificate.validToDate.getTime(), START_MS + days * DAY_MS)
      assert.deepEqual(certificate.keyUsage, [usage])
      assert.equal(certificate.ca, false)
      assert.deepEqual([identity.identity.role, identity.identity.name], [role, `${role}-1`])
    })
  }

  it("works with a token that went through its text, and that was made while the authority ran", async () => {
    const read = parseToken(formatToken(await mintToken(scene.place("connector"), ACME)))
    const key = await testKey(1)
    const { params } = await prepareEnrolment(read, { privateKey: key })
    assert.equal(acceptEnrolment(read, key, await authority.enrol(params), START_MS).identity.name, "hq-1")
  })

  it("pins the three roots that are published", async () => {
    for (const role of ["gateway", "connector", "worker"] as const) assert.equal(token.pins[role], (await scene.authority(role)).pin)
  })

  it("gives the same answer again for the same token and key, also after a restart", async () => {
    const params = await request()
    const first = await authority.enrol(params)
    assert.deepEqual(await authority.enrol(params), first)
    assert.deepEqual(await (await scene.authority("connector")).enrol(await request()), first)
    assert.deepEqual(scene.events.map(({ event }) => event), ["certificate enrolled", "certificate enrolled again", "certificate enrolled again"])
  })

  it("issues once after a crash between using the token and recording the certificate", async () => {
    const params = await request()
    await authority.enrol(params)
    await rm(join(scene.folder, "connector", "issued"), { recursive: true })
    const again = await (await scene.authority("connector")).enrol(params)
    assert.deepEqual(await authority.enrol(params), again)
    await refuses("used for another key", await request(2))
  })

  it("refuses a used token for another key", async () => {
    await authority.enrol(await request(1))
    await refuses("used for another key", await request(2))
  })

  it("lets exactly one of two keys win that come with one token at once, also at two processes", async () => {
    for (const other of [authority, await scene.authority("connector")]) {
      token = await mintToken(scene.place("connector"), ACME)
      const [one, two] = [await request(1), await request(2)]
      const outcomes = await Promise.allSettled([authority.enrol(one), other.enrol(two), authority.enrol(one), other.enrol(two)])
      const certificates = new Set(outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value.certificate] : []))
      assert.equal(certificates.size, 1)
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 2)
    }
  })

  it("refuses a token at its last millisecond, used or not, and accepts it one before", async () => {
    scene.clock.nowMs = START_MS + 60 * 60_000 - 1
    await authority.enrol(await request())
    scene.clock.nowMs += 1
    await refuses("expired", await request())
  })

  it("forgets the secrets of expired tokens, at each start and with each new token", async () => {
    const files = async (): Promise<string[]> => (await readdir(join(scene.folder, "connector", "tokens"))).filter((file) => file === `${token.id}.json`)
    await authority.enrol(await request())
    scene.clock.nowMs = START_MS + 60 * 60_000
    assert.equal((await files()).length, 1)
    await scene.authority("connector")
    assert.equal((await files()).length, 0)
    await refuses("unknown", await request())
    token = await mintToken(scene.place("connector"), ACME)
    scene.clock.nowMs += 60 * 60_000
    const expired = token.id
    token = await mintToken(scene.place("connector"), ACME)
    assert.ok(!(await readdir(join(scene.folder, "connector", "tokens"))).includes(`${expired}.json`))
  })

  it("refuses unknown tokens, other authorities' tokens, and ids that are paths", async () => {
    await refuses("unknown", { ...await request(), tokenId: "AAAAAAAAAAAAAAAAAAAAAA" })
    const workers = await mintToken(scene.place("worker"), ACME)
    await refuses("unknown", { ...await request(1, workers), role: "connector" })
    await refuses("for another role", await request(1, workers))
    for (const tokenId of [`../../worker/tokens/${workers.id}`, `./${token.id}`, `${token.id}.used`, "", "..", `${token.id}\u0000`]) {
      await refuses("unknown", { ...await request(), tokenId })
    }
  })

  it("refuses every other proof, and the token stays good", async () => {
    const params = await request()
    const bytes = Buffer.from(params.proof, "base64url")
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed.writeUInt8(changed.readUInt8(at) ^ 0x80, at)
      await refuses("wrong proof", { ...params, proof: toBase64url(changed) })
    }
    await refuses("wrong proof", { ...params, proof: toBase64url(bytes.subarray(1)) })
    await refuses("malformed", { ...params, proof: "!" })
    await authority.enrol(params)
  })

  it("refuses a proved request for any other identity, and the token stays good", async () => {
    const privateKey = await testKey(1)
    const uris = [
      "spiffe://backup.example/tenant/acme/connector/hq-2", "spiffe://backup.example/tenant/other/connector/hq-1",
      "spiffe://backup.example/tenant/acme/worker/hq-1", "spiffe://backup.example/gateway/hq-1", "spiffe://other.example/tenant/acme/connector/hq-1",
      "spiffe://backup.example/tenant/acme/connector/hq-1/", "",
    ]
    for (const uri of uris) {
      const csr = await createCsr({ privateKey, commonName: "hq-1", uri })
      await refuses(uri === "" ? "malformed request" : "for another identity", {
        ...await request(), csr: toBase64url(csr), proof: toBase64url(proof(token.secret, csr, "acme", "hq-1")),
      })
    }
    await authority.enrol(await request())
  })

  it("refuses proved bytes that are no request", async () => {
    for (const csr of [Buffer.alloc(0), Buffer.from("request"), Buffer.alloc(4096, 0x30)]) {
      await refuses("malformed request", { ...await request(), csr: toBase64url(csr), proof: toBase64url(proof(token.secret, csr, "acme", "hq-1")) })
    }
  })

  it("has recorded a certificate durably before it leaves", async () => {
    const { certificate } = await authority.enrol(await request())
    const stored = await readFile(join(scene.folder, "connector", "issued", "acme", "hq-1.json"), "utf8")
    assert.ok(stored.includes(certificate))
  })

  it("gives no certificate when it can't be recorded, and the next attempt does", async () => {
    await writeFile(join(scene.folder, "connector", "issued"), "in the way")
    await assert.rejects(authority.enrol(await request()))
    await rm(join(scene.folder, "connector", "issued"))
    await authority.enrol(await request())
  })

  it("does not use a token up while another authority's root is not published", async () => {
    const file = join(scene.folder, "roots", "worker.pem")
    const root = await readFile(file)
    await rm(file)
    await assert.rejects(authority.enrol(await request(2)), { code: "ERR_AUTHORITY_ROOT" })
    await assert.rejects(mintToken(scene.place("connector"), ACME), { code: "ERR_AUTHORITY_ROOT" })
    await writeFile(file, root)
    await authority.enrol(await request(1))
  })

  it("refuses tokens and answers after the name was revoked", async () => {
    const unused = await mintToken(scene.place("connector"), ACME)
    const other = await mintToken(scene.place("connector"), { tenant: "acme", name: "hq-2" })
    await authority.enrol(await request())
    await revoke(scene.place("connector"), ACME)
    await refuses("unknown", await request())
    await refuses("unknown", await request(2, unused))
    await authority.enrol(await request(2, other))
  })

  it("refuses the answer again after its certificate alone was revoked", async () => {
    const { certificate } = await authority.enrol(await request())
    const serial = parseCertificate(Buffer.from(certificate, "base64url")).serialNumber.toLowerCase()
    await revoke(scene.place("connector"), { serial })
    await refuses("its certificate is revoked", await request())
  })

  it("refuses, and revokes what it had signed, when the token is cancelled while it signs", async () => {
    const params = await request()
    scene.interfereWhileIssuing(() => { rmSync(join(scene.folder, "connector", "tokens", `${token.id}.json`)) })
    await refuses("cancelled", params)
    assert.equal((await authority.revocationList()).serials.length, 1)
  })

  it("leaves no certificate unrevoked when the name is revoked at the same moment", async () => {
    for (let round = 0; round < 10; round++) {
      token = await mintToken(scene.place("connector"), ACME)
      const params = await request()
      const [enrolled] = await Promise.allSettled([authority.enrol(params), revoke(scene.place("connector"), ACME)])
      if (enrolled.status === "rejected") continue
      const serial = parseCertificate(Buffer.from(enrolled.value.certificate, "base64url")).serialNumber.toLowerCase()
      assert.ok((await authority.revocationList()).serials.includes(serial))
    }
  })

  it("makes tokens only for names that fit the role", async () => {
    const rows = [["connector", { tenant: null, name: "hq-1" }], ["gateway", { tenant: "acme", name: "gw-1" }], ["worker", { tenant: "acme", name: "../x" }], ["worker", { tenant: "A", name: "x" }]] as const
    for (const [role, to] of rows) await assert.rejects(mintToken(scene.place(role), to), { code: "ERR_PARAMS" })
  })

  it("names what happened in the log, and never a secret", async () => {
    await authority.enrol(await request())
    await refuses("used for another key", await request(2))
    const [enrolled, refused] = scene.events
    assert.deepEqual([enrolled?.event, enrolled?.fields["tenant"], enrolled?.fields["name"]], ["certificate enrolled", "acme", "hq-1"])
    assert.deepEqual(refused?.fields["tokenId"], token.id)
    const log = JSON.stringify(scene.events)
    for (const encoding of ["hex", "base64", "base64url"] as const) assert.ok(!log.includes(token.secret.export().toString(encoding)))
  })
})
