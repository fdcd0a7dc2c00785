import assert from "node:assert/strict"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { newSerial, openRoot, readPublishedRoots } from "../../src/authority/root.ts"
import { toPem } from "../../src/crypto/x509.ts"
import { START_MS } from "../support/fake-clock.ts"
import { TRUST_DOMAIN } from "../support/identities.ts"
import { requirePlatform } from "../support/requirements.ts"
import { removeTemplate, Scene } from "./scene.ts"

const REFUSED = { name: "EkeyError", code: "ERR_AUTHORITY_ROOT" }
const clock = { now: (): number => START_MS }

describe("An authority's root", () => {
  let folder: string
  const place = (): { role: "worker"; folder: string; trustDomain: string } => ({ role: "worker", folder, trustDomain: TRUST_DOMAIN })
  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "ekey-root-")) })
  afterEach(async () => { await rm(folder, { recursive: true }) })
  after(removeTemplate)

  it("is made once, RSA of 3072 bits, good for ten years, and the same ever after", async () => {
    const made = await openRoot(place(), clock)
    assert.equal(made.privateKey.asymmetricKeyDetails?.modulusLength, 3072)
    assert.equal(made.certificate.subject, "CN=ekey worker authority")
    assert.equal(made.certificate.validFromDate.getTime(), START_MS - 5 * 60_000)
    assert.equal(made.certificate.validToDate.getTime(), START_MS + 3650 * 24 * 60 * 60_000)
    const again = await openRoot(place(), clock)
    assert.ok(again.certificate.raw.equals(made.certificate.raw))
    assert.ok(again.privateKey.equals(made.privateKey))
    assert.equal(again.pin, made.pin)
  })

  it("is one, even when two processes make it at once", async () => {
    const roots = await Promise.all([openRoot(place(), clock, 2048), openRoot(place(), clock, 2048)])
    assert.equal(roots[0].pin, roots[1].pin)
  })

  it("keeps its key to its owner and publishes its certificate alone", async function () {
    requirePlatform(this, ["linux", "darwin"], "file modes")
    const root = await openRoot(place(), clock, 2048)
    assert.equal((await stat(join(folder, "worker"))).mode & 0o777, 0o700)
    assert.equal((await stat(join(folder, "worker", "root-key.pem"))).mode & 0o777, 0o600)
    assert.equal(await readFile(join(folder, "roots", "worker.pem"), "utf8"), toPem(root.certificate.raw))
  })

  it("is published again when a crash came before that", async () => {
    await openRoot(place(), clock, 2048)
    await rm(join(folder, "roots"), { recursive: true })
    await openRoot(place(), clock, 2048)
    assert.deepEqual(await readdir(join(folder, "roots")), ["worker.pem"])
  })

  for (const record of ["issued", "tokens", "revoked", "revocation-list.json"]) {
    it(`is not made anew where it is missing beside ${record}`, async () => {
      await mkdir(join(folder, "worker", record), { recursive: true })
      await assert.rejects(openRoot(place(), clock, 2048), REFUSED)
      assert.deepEqual(await readdir(join(folder, "worker")), [record])
    })
  }

  it("is not made anew where it is missing but was published", async () => {
    await openRoot(place(), clock, 2048)
    await rm(join(folder, "worker"), { recursive: true })
    await assert.rejects(openRoot(place(), clock, 2048), REFUSED)
  })

  it("is refused when damaged, for another trust domain, for another role, or beside another's publication", async () => {
    const scene = await Scene.open()
    try {
      await assert.rejects(openRoot({ ...scene.place("worker"), trustDomain: "other.example" }, clock), REFUSED)
      const file = join(scene.folder, "worker", "root-key.pem")
      const whole = await readFile(file, "utf8")
      for (const text of ["", whole.slice(0, 500), whole.slice(0, -300)]) {
        await writeFile(file, text)
        await assert.rejects(openRoot(scene.place("worker"), clock), REFUSED)
      }
      await cp(join(scene.folder, "connector", "root-key.pem"), file)
      await assert.rejects(openRoot(scene.place("worker"), clock), REFUSED)
      await writeFile(file, whole)
      await openRoot(scene.place("worker"), clock)
      await cp(join(scene.folder, "roots", "connector.pem"), join(scene.folder, "roots", "worker.pem"))
      await assert.rejects(openRoot(scene.place("worker"), clock), REFUSED)
    } finally {
      await scene.close()
    }
  })

  it("is read together with the other two's publications, or not at all", async () => {
    const scene = await Scene.open()
    try {
      const { pins } = await readPublishedRoots(scene.folder, TRUST_DOMAIN)
      for (const role of ["gateway", "connector", "worker"] as const) assert.equal(pins[role], (await scene.authority(role)).pin)
      await rm(join(scene.folder, "roots", "gateway.pem"))
      await assert.rejects(readPublishedRoots(scene.folder, TRUST_DOMAIN), REFUSED)
      await cp(join(scene.folder, "roots", "worker.pem"), join(scene.folder, "roots", "gateway.pem"))
      await assert.rejects(readPublishedRoots(scene.folder, TRUST_DOMAIN), REFUSED)
    } finally {
      await scene.close()
    }
  })

  it("gives serials of 128 bits, positive and without leading zeros", () => {
    const serials = Array.from({ length: 200 }, newSerial)
    assert.equal(new Set(serials).size, 200)
    for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/)
  })
})
