import assert from "node:assert/strict"
import { mkdirSync, writeFileSync } from "node:fs"
import { readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { revoke } from "../../src/authority/admin.ts"
import type { Authority } from "../../src/authority/authority.ts"
import { toBase64url } from "../../src/base/bytes.ts"
import { generateRsaKey, signPss } from "../../src/crypto/rsa.ts"
import { createCsr } from "../../src/crypto/x509.ts"
import { acceptRenewal, prepareRenewal, renewalBytes } from "../../src/wire/identity/certificate-request.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { CertificateRenewParams } from "../../src/wire/messages/certificate.ts"
import { START_MS } from "../support/fake-clock.ts"
import { testKey } from "../support/identities.ts"
import { removeTemplate, Scene } from "./scene.ts"

const DAY_MS = 24 * 60 * 60_000

describe("Renewal at an authority", () => {
  let scene: Scene
  let authority: Authority
  let current: LocalIdentity
  beforeEach(async () => {
    scene = await Scene.open()
    authority = await scene.authority("worker")
    current = await scene.enrol("worker", "w-1", await testKey(1))
  })
  afterEach(async () => { await scene.close() })
  after(removeTemplate)

  const request = async (key = 2, of = current): Promise<CertificateRenewParams> => (
    (await prepareRenewal(of, { privateKey: await testKey(key), nowMs: scene.clock.now() })).params
  )
  const refuses = async (code: string, params: CertificateRenewParams, by = authority): Promise<void> => {
    await assert.rejects(by.renew(params), { name: "EkeyError", code })
    assert.equal(scene.events.at(-1)?.event, "certificate renewal refused")
    assert.equal(scene.events.at(-1)?.fields["code"], code)
  }

  it("gives the same identity a new key and a new life, again and again", async () => {
    scene.clock.nowMs += DAY_MS / 2
    const second = await scene.renew(current, await testKey(2))
    assert.deepEqual(second.identity, current.identity)
    assert.notEqual(second.serial, current.serial)
    assert.equal(second.notAfterMs, START_MS + DAY_MS / 2 + DAY_MS)
    scene.clock.nowMs += DAY_MS / 2
    assert.equal((await scene.renew(second, await testKey(3))).notAfterMs, START_MS + 2 * DAY_MS)
  })

  it("gives the same answer again for the same certificate and key, also after a restart", async () => {
    const params = await request()
    const first = await authority.renew(params)
    assert.deepEqual(await authority.renew(params), first)
    assert.deepEqual(await (await scene.authority("worker")).renew(await request()), first)
  })

  it("wants a new key", async () => {
    await refuses("ERR_CERT_MALFORMED", await request(1))
    const second = await scene.renew(current, await testKey(2))
    await refuses("ERR_CERT_MALFORMED", await request(1, second))
    await refuses("ERR_CERT_MALFORMED", await request(2, second))
  })

  it("refuses every change to certificate, request, time and signature", async () => {
    const params = await request()
    const other = await scene.enrol("worker", "w-2", await testKey(4))
    await refuses("ERR_SIGNATURE", { ...params, certificate: toBase64url(other.certificateDer) })
    await refuses("ERR_SIGNATURE", { ...params, csr: (await request(3)).csr })
    await refuses("ERR_SIGNATURE", { ...params, issuedAtMs: params.issuedAtMs + 1 })
    await refuses("ERR_SIGNATURE", { ...params, signature: (await request(3)).signature })
    await refuses("ERR_SIGNATURE", { ...params, signature: "AAAA" })
    await refuses("ERR_PARAMS", { ...params, signature: "!" })
    await authority.renew(params)
  })

  it("takes signatures of up to 5 minutes from now, either way", async () => {
    const params = await request()
    scene.clock.nowMs = START_MS + 5 * 60_000 + 1
    await refuses("ERR_REPLAY", params)
    scene.clock.nowMs = START_MS + 5 * 60_000
    await authority.renew(params)
    const ahead = (await prepareRenewal(current, { privateKey: await testKey(3), nowMs: scene.clock.now() + 5 * 60_000 + 1 })).params
    await refuses("ERR_REPLAY", ahead)
  })

  it("refuses another identity than the certificate's", async () => {
    const uris = ["spiffe://backup.example/tenant/acme/worker/w-2", "spiffe://backup.example/tenant/other/worker/w-1", "spiffe://backup.example/tenant/acme/connector/w-1"]
    for (const uri of uris) {
      const csr = await createCsr({ privateKey: await testKey(2), commonName: "w-1", uri })
      const signature = await signPss(current.privateKey, renewalBytes(csr, current.certificateDer, START_MS))
      await refuses("ERR_CERT_MALFORMED", { ...await request(), csr: toBase64url(csr), signature: toBase64url(signature) })
    }
  })

  it("refuses a certificate that has expired, to the millisecond", async () => {
    scene.clock.nowMs = current.notAfterMs
    await refuses("ERR_CERT_EXPIRED", await request())
    scene.clock.nowMs -= 1
    await authority.renew(await request())
  })

  it("refuses a revoked certificate at once, also for an answer given before", async () => {
    const params = await request()
    await authority.renew(params)
    await revoke(scene.place("worker"), { tenant: "acme", name: "w-1" })
    await refuses("ERR_CERT_REVOKED", params)
    await refuses("ERR_CERT_REVOKED", await request(3))
  })

  it("issues nothing on the strength of a revoked certificate", async () => {
    await revoke(scene.place("worker"), { serial: current.serial })
    await refuses("ERR_CERT_REVOKED", await request())
    const stored = await readFile(join(scene.folder, "worker", "issued", "acme", "w-1.json"), "utf8")
    assert.equal(stored.split('"serial"').length, 2)
  })

  it("refuses, and revokes what it had signed, when the revocation comes while it signs", async () => {
    const params = await request()
    const folder = join(scene.folder, "worker", "revoked")
    scene.interfereWhileIssuing(() => {
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, `${current.serial}.json`), "")
    })
    await refuses("ERR_CERT_REVOKED", params)
    assert.equal((await authority.revocationList()).serials.length, 2)
  })

  it("refuses certificates of other authorities, of other roles, and of which it has no record", async () => {
    const gateway = await scene.enrol("gateway", "gw-1", await testKey(5))
    const params = (await prepareRenewal(gateway, { privateKey: await testKey(6), nowMs: START_MS })).params
    await refuses("ERR_CERT_ROLE", params)
    await refuses("ERR_CERT_AUTHORITY", { ...params, role: "worker" })
    await rm(join(scene.folder, "worker", "issued"), { recursive: true })
    await refuses("ERR_CERT_AUTHORITY", await request())
  })

  it("leaves no certificate unrevoked when the name is revoked at the same moment", async () => {
    for (let round = 0; round < 10; round++) {
      const name = `race-${String(round)}`
      const identity = await scene.enrol("worker", name, await testKey(1))
      const params = await request(2, identity)
      const [renewed] = await Promise.allSettled([authority.renew(params), revoke(scene.place("worker"), { tenant: "acme", name })])
      if (renewed.status === "rejected") continue
      const next = acceptRenewal(identity, await testKey(2), renewed.value, START_MS)
      assert.ok((await authority.revocationList()).serials.includes(next.serial))
    }
  })

  it("stops a peer that renews in a loop, until its certificates expire", async () => {
    for (let count = 1; count < 32; count++) await authority.renew((await prepareRenewal(current, { privateKey: await generateRsaKey(2048), nowMs: START_MS })).params)
    const params = (await prepareRenewal(current, { privateKey: await testKey(2), nowMs: START_MS })).params
    await refuses("ERR_OVERLOADED", params)
  }).timeout(60_000)
})
