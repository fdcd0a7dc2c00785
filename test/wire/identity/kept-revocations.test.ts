import assert from "node:assert/strict"
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { IdentityFolder } from "../../../src/wire/identity/identity-folder.ts"
import { openRevocations } from "../../../src/wire/identity/kept-revocations.ts"
import { OwnIdentity } from "../../../src/wire/identity/own-identity.ts"
import type { RevocationLists } from "../../../src/wire/identity/revocation.ts"
import type { RevocationList } from "../../../src/wire/messages/certificate.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { mintAuthorities } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"
import { until } from "../../support/until.ts"

const REVOKED = "4".repeat(32)

/** A folder that knows when everything was written. */
class CountingFolder extends IdentityFolder {
  saves = 0

  override async saveRevocations(lists: readonly RevocationList[]): Promise<void> {
    try {
      await super.saveRevocations(lists)
    } finally {
      this.saves += 1
    }
  }
}

describe("Kept revocation lists", () => {
  let authorities: TestAuthorities
  let path: string
  let folder: CountingFolder
  let own: OwnIdentity
  let log: EventLog
  const clock = new FakeClock()

  before(async () => { authorities = await mintAuthorities() })
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "ekey-kept-"))
    folder = new CountingFolder(path)
    log = new EventLog()
    const identity = await authorities.identity({ role: "worker" })
    own = new OwnIdentity(identity)
    await folder.save(identity)
  })
  afterEach(async () => {
    await chmod(path, 0o700)
    await rm(path, { recursive: true })
  })

  const open = (): Promise<RevocationLists> => openRevocations({ folder, own, clock, log })

  it("are none at the first start", async () => {
    assert.deepEqual((await open()).current(), [])
  })

  it("are those of the last run at the next, so that nobody goes back", async () => {
    const older = await authorities.revocationList("worker")
    const newer = await authorities.revocationList("worker", [REVOKED])
    const first = await open()
    first.apply(older)
    first.apply(newer)
    await until("both are kept", () => folder.saves === 2)
    const second = await open()
    assert.equal(second.isRevoked("worker", REVOKED), true)
    assert.throws(() => { second.apply(older) }, { code: "ERR_REVOCATION_INVALID" })
  })

  it("are kept in the order in which they came, however quickly", async () => {
    const lists = await open()
    const numbers: number[] = []
    for (let count = 0; count < 20; count++) {
      const list = await authorities.revocationList(count % 2 === 0 ? "worker" : "connector")
      numbers.push(list.number)
      lists.apply(list)
    }
    await until("all are kept", () => folder.saves === 20)
    assert.deepEqual((await folder.loadRevocations()).map(({ number }) => number).sort((a, b) => a - b), numbers.slice(-2))
  })

  it("are checked again when they are read: a forged file ends the start", async () => {
    const list = await authorities.revocationList("worker", [REVOKED])
    await folder.saveRevocations([{ ...list, serials: [] }])
    await assert.rejects(open(), { code: "ERR_REVOCATION_INVALID" })
  })

  it("end the start when their file is damaged: forgotten lists would let older ones in", async () => {
    await folder.saveRevocations([await authorities.revocationList("worker")])
    const file = join(path, "revocations.json")
    const text = await readFile(file, "utf8")
    await writeFile(file, text.slice(0, -5))
    await assert.rejects(open(), { code: "ERR_FILE" })
  })

  it("that can't be kept hold all the same, and the log says so", async () => {
    const lists = await open()
    await rm(path, { recursive: true })
    await writeFile(path, "in the way")
    lists.apply(await authorities.revocationList("worker", [REVOKED]))
    assert.equal(lists.isRevoked("worker", REVOKED), true)
    await until("the log", () => log.of("revocation lists not kept").length === 1)
    await rm(path)
    await folder.save(own.current())
    lists.apply(await authorities.revocationList("connector"))
    await until("the next try", () => folder.saves === 2)
    assert.equal((await folder.loadRevocations()).length, 2)
  })
})
