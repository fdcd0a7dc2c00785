import assert from "node:assert/strict"
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generateRsaKey } from "../../../src/crypto/rsa.ts"
import { toPem } from "../../../src/crypto/x509.ts"
import { IdentityFolder, toLocalIdentity } from "../../../src/wire/identity/identity-folder.ts"
import { mintAuthorities, testKey } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"
import { requirePlatform } from "../../support/requirements.ts"

const UNUSABLE = { name: "EkeyError", code: "ERR_FILE" }

describe("The identity folder", () => {
  let own: TestAuthorities
  let foreign: TestAuthorities
  let path: string
  let folder: IdentityFolder
  before(async () => {
    own = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
  })
  beforeEach(async () => {
    path = join(await mkdtemp(join(tmpdir(), "ekey-identity-")), "identity")
    folder = new IdentityFolder(path)
  })
  afterEach(async () => { await rm(join(path, ".."), { recursive: true }) })

  it("that does not exist has no identity, no lists, and is not created by asking", async () => {
    assert.equal(await folder.load(), null)
    assert.deepEqual(await folder.loadRevocations(), [])
    assert.deepEqual(await readdir(join(path, "..")), [])
  })

  it("gives back what was saved, roots included", async () => {
    const saved = await own.identity({ role: "connector" })
    await folder.save(saved)
    const loaded = await new IdentityFolder(path).load()
    assert.ok(loaded)
    assert.deepEqual(loaded.identity, saved.identity)
    assert.ok(loaded.privateKey.equals(saved.privateKey))
    assert.deepEqual(
      [loaded.serial, loaded.certificatePem, loaded.keyPem, loaded.notBeforeMs, loaded.notAfterMs],
      [saved.serial, saved.certificatePem, saved.keyPem, saved.notBeforeMs, saved.notAfterMs],
    )
    for (const role of ["gateway", "connector", "worker"] as const) assert.ok(loaded.trust.roots[role][0]?.raw.equals(own.roots[role]))
  })

  it("loads an identity that has expired: it is for others to judge", async () => {
    await folder.save(await own.identity({ role: "worker", notAfterMs: own.nowMs - 1000 }))
    assert.equal((await folder.load())?.notAfterMs, own.nowMs - 1000)
  })

  it("keeps its secrets to its owner, and refuses them when others may read them", async function () {
    requirePlatform(this, ["linux", "darwin"], "file modes")
    await folder.save(await own.identity({ role: "connector" }))
    await folder.pendingKey("x")
    assert.equal((await stat(path)).mode & 0o777, 0o700)
    for (const file of ["identity.pem", "pending-key.json"]) {
      assert.equal((await stat(join(path, file))).mode & 0o777, 0o600)
      await chmod(join(path, file), 0o640)
    }
    await assert.rejects(folder.load(), UNUSABLE)
    await assert.rejects(folder.pendingKey("x"), UNUSABLE)
  })

  it("replaces key and certificate in one file: an old key never stands beside a new certificate", async () => {
    await folder.save(await own.identity({ role: "connector" }))
    const renewed = await own.identity({ role: "connector", privateKey: await testKey(3) })
    await folder.save(renewed)
    assert.equal(await readFile(join(path, "identity.pem"), "utf8"), renewed.keyPem + renewed.certificatePem)
    assert.deepEqual((await readdir(path)).sort(), ["identity.pem", "roots"])
  })

  it("gives the same pending key for the same purpose, also after a restart, and another for another", async function () {
    this.timeout(30_000)
    const first = await folder.pendingKey("token-1")
    assert.ok((await folder.pendingKey("token-1")).equals(first))
    assert.ok((await new IdentityFolder(path).pendingKey("token-1")).equals(first))
    assert.ok(!(await folder.pendingKey("token-2")).equals(first))
  })

  it("has the pending key on disk before anybody gets it, and forgets it with the answer", async function () {
    this.timeout(30_000)
    const key = await folder.pendingKey("token-1")
    assert.ok((await readFile(join(path, "pending-key.json"), "utf8")).includes("token-1"))
    await folder.save(await own.identity({ role: "connector", privateKey: key }))
    assert.ok(!(await readdir(path)).includes("pending-key.json"))
  })

  it("makes a new pending key where the old one is damaged", async function () {
    this.timeout(30_000)
    const first = await folder.pendingKey("token-1")
    await writeFile(join(path, "pending-key.json"), "{", { mode: 0o600 })
    assert.ok(!(await folder.pendingKey("token-1")).equals(first))
  })

  it("refuses an identity whose parts are cut, swapped or missing", async () => {
    const saved = await own.identity({ role: "connector" })
    const other = await own.identity({ role: "connector", privateKey: await testKey(3) })
    const write = async (text: string): Promise<void> => { await writeFile(join(path, "identity.pem"), text, { mode: 0o600 }) }
    await folder.save(saved)
    for (const text of ["", saved.keyPem, saved.certificatePem, saved.keyPem + other.certificatePem, other.keyPem + saved.certificatePem, saved.keyPem.slice(0, 900) + saved.certificatePem]) {
      await write(text)
      await assert.rejects(folder.load(), UNUSABLE)
    }
    await write(saved.keyPem + saved.certificatePem)
    assert.ok(await folder.load())
    await writeFile(join(path, "roots", "connector.pem"), toPem(foreign.roots.connector))
    await assert.rejects(folder.load(), UNUSABLE)
    await rm(join(path, "roots", "connector.pem"))
    await assert.rejects(folder.load(), UNUSABLE)
  })

  it("is not put together from a certificate of another key, authority or role", async () => {
    const key = await testKey(1)
    const rows: readonly [string, Uint8Array][] = [
      ["ERR_CERT_MALFORMED", await own.leaf({ role: "connector", privateKey: await generateRsaKey(2048) })],
      ["ERR_CERT_AUTHORITY", await foreign.leaf({ role: "connector", privateKey: key })],
      ["ERR_CERT_ROLE", await own.leaf({ role: "connector", signedBy: "gateway", privateKey: key })],
      ["ERR_CERT_MALFORMED", own.roots.connector],
    ]
    for (const [code, der] of rows) assert.throws(() => toLocalIdentity(key, der, own.trust), { code })
  })

  it("keeps revocation lists, and refuses damaged ones rather than forget them", async () => {
    await folder.save(await own.identity({ role: "connector" }))
    const lists = [await own.revocationList("worker"), await own.revocationList("gateway")]
    await folder.saveRevocations(lists)
    assert.deepEqual(await new IdentityFolder(path).loadRevocations(), lists)
    for (const text of ["", "{}", "[1]", JSON.stringify(lists).slice(0, -1)]) {
      await writeFile(join(path, "revocations.json"), text)
      await assert.rejects(folder.loadRevocations(), UNUSABLE)
    }
  })

  it("keeps revocation lists over a renewal, and drops those that another authority signed", async () => {
    await folder.save(await own.identity({ role: "connector" }))
    await folder.saveRevocations([await own.revocationList("worker")])
    await folder.save(await own.identity({ role: "connector", privateKey: await testKey(3) }))
    assert.equal((await folder.loadRevocations()).length, 1)
    await folder.save(await foreign.identity({ role: "connector" }))
    assert.deepEqual(await folder.loadRevocations(), [])
  })
})
