import assert from "node:assert/strict"
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { openDatabase } from "../../../src/cloud/storage/database.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { requirePlatform } from "../../support/requirements.ts"
import { describeStorage } from "./contract.ts"

const clock = new FakeClock()

describeStorage("SQLite in memory", (contractClock) => openDatabase({ file: ":memory:", clock: contractClock }))

describe("cloud database", () => {
  let folder: string
  let file: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-storage-"))
    file = join(folder, "cloud.db")
  })

  afterEach(async () => { await rm(folder, { recursive: true, force: true }) })

  describeStorage("SQLite in a file", (contractClock) => openDatabase({ file, clock: contractClock }))

  /** Changes the file behind the program's back, as a damaged or tampered disk would. */
  function tamper(sql: string): void {
    const raw = new DatabaseSync(file)
    raw.exec(sql)
    raw.close()
  }

  it("keeps everything across a restart", async () => {
    const first = await openDatabase({ file, clock })
    await first.users.add("acme", "user-1")
    await first.records.put("acme", [{ user: "user-1", version: 1, sealed: Uint8Array.of(1, 2) }])
    await first.operations.begin({ tenant: "acme", id: "operation-1", worker: "worker-1", product: "endpoint", workflow: "backup.manual", run: null })
    await first.schedules.add({ tenant: "acme", name: "nightly", user: "user-1", product: "endpoint", workflow: "backup.scheduled", job: "files", cron: "* * * * *", parameters: {}, enabled: true })
    await first.runs.start({ id: "run-1", tenant: "acme", schedule: "nightly", user: "user-1", job: "files" })
    await first.alarms.raise({ tenant: null, kind: "a", detail: "b" })
    await first.close()

    const second = await openDatabase({ file, clock })
    try {
      assert.equal((await second.users.list("acme")).length, 1)
      assert.deepEqual([...(await second.records.since("acme", 0, 9))[0]?.sealed ?? []], [1, 2])
      assert.equal((await second.operations.openOf("acme", "worker-1")).length, 1)
      assert.equal((await second.schedules.list()).length, 1)
      assert.equal((await second.runs.unfinished()).length, 1)
      assert.equal((await second.alarms.list(null, 9)).length, 1)
      await second.records.put("acme", [{ user: "user-2", version: 1, sealed: Uint8Array.of(3) }])
      assert.deepEqual((await second.records.since("acme", 1, 9)).map(({ sequence }) => sequence), [2])
    } finally {
      await second.close()
    }
  })

  it("has a put in the file as soon as it resolves, without being closed", async () => {
    const database = await openDatabase({ file, clock })
    try {
      await database.records.put("acme", [{ user: "user-1", version: 1, sealed: Uint8Array.of(7) }])
      const copy = join(folder, "copy.db")
      await writeFile(copy, await readFile(file))
      await writeFile(`${copy}-wal`, await readFile(`${file}-wal`))
      const survivor = await openDatabase({ file: copy, clock })
      try {
        assert.equal(await survivor.records.count("acme"), 1)
      } finally {
        await survivor.close()
      }
    } finally {
      await database.close()
    }
  })

  it("serves two programs on one file, and neither repeats a number of the other", async () => {
    const [one, two] = [await openDatabase({ file, clock }), await openDatabase({ file, clock })]
    try {
      for (const [index, database] of [one, two, one, two, two, one].entries()) {
        await database.records.put("acme", [{ user: `user-${index}`, version: 1, sealed: Uint8Array.of(index) }])
      }
      for (const database of [one, two]) {
        assert.deepEqual((await database.records.since("acme", 0, 99)).map(({ sequence }) => sequence), [1, 2, 3, 4, 5, 6])
      }
    } finally {
      await Promise.all([one.close(), two.close()])
    }
  })

  it("stores nothing of a batch that fails midway, and all of it the next time", async () => {
    const database = await openDatabase({ file, clock })
    try {
      const batch = Array.from({ length: 1_200 }, (_, index) => ({ user: `user-${index}`, version: 1, sealed: Uint8Array.of(1) }))
      tamper("create trigger fault before insert on records when new.user = 'user-1100' begin select raise(abort, 'fault'); end")
      await assert.rejects(database.records.put("acme", batch), { code: "ERR_STORE", retryable: true })
      assert.equal(await database.records.count("acme"), 0)
      tamper("drop trigger fault")
      assert.deepEqual(await database.records.put("acme", batch), { stored: 1_200 })
      assert.equal((await database.records.since("acme", 1_199, 9))[0]?.sequence, 1_200)
    } finally {
      await database.close()
    }
  })

  it("can be closed twice", async () => {
    const database = await openDatabase({ file, clock })
    await database.close()
    await database.close()
  })

  it("is readable by its owner only", async function () {
    requirePlatform(this, ["linux", "darwin"], "Windows has access lists, which are the folder's")
    const database = await openDatabase({ file, clock })
    try {
      await database.users.add("acme", "user-1")
      for (const name of [file, `${file}-wal`]) assert.equal((await stat(name)).mode & 0o777, 0o600)
    } finally {
      await database.close()
    }
  })

  describe("that is damaged", () => {
    const damages: readonly (readonly [string, () => Promise<void>])[] = [
      ["is no database", () => writeFile(file, "not a database, but long enough to hold a header".repeat(100))],
      ["is cut off", () => truncate(file, 5_000)],
      ["has pages overwritten", async () => {
        const bytes = await readFile(file)
        await writeFile(file, bytes.fill(0xff, 100))
      }],
    ]
    for (const [title, damage] of damages) {
      it(`is refused by name when it ${title}, and left as it is`, async () => {
        await (await openDatabase({ file, clock })).close()
        await damage()
        const before = await readFile(file)
        await assert.rejects(openDatabase({ file, clock }), (error: Error & { code?: string }) => {
          assert.equal(error.code, "ERR_STORE")
          assert.ok(error.cause instanceof Error)
          assert.doesNotMatch(error.message, /ekey-storage-/)
          return true
        })
        assert.ok(before.equals(await readFile(file)))
      })
    }

    it("is refused by name when its folder is missing", async () => {
      await assert.rejects(openDatabase({ file: join(folder, "missing", "cloud.db"), clock }), { code: "ERR_STORE" })
    })
  })

  describe("that holds a row which can't be understood", () => {
    const SECRET = "value-that-stays-inside"
    const rows: readonly (readonly [table: string, what: string, change: string])[] = [
      ["users", "an unknown state", `update users set state = '${SECRET}'`],
      ["users", "an active user without a version", "update users set state = 'active'"],
      ["records", "text for bytes", `update records set sealed = '${SECRET}'`],
      ["operations", "an unknown state", `update operations set state = '${SECRET}'`],
      ["operations", "an unknown workflow", `update operations set workflow = '${SECRET}'`],
      ["operations", "a reason that is no code", `update operations set reason = '${SECRET}'`],
      ["schedules", "parameters that are no JSON", `update schedules set parameters = '${SECRET}'`],
      ["schedules", "parameters that are no text", `update schedules set parameters = '{"${SECRET}":1}'`],
      ["schedules", "a third truth value", "update schedules set enabled = 2"],
      ["runs", "an unknown state", `update runs set state = '${SECRET}'`],
      ["runs", "statistics that are no counters", `update runs set statistics = '{"${SECRET}":1}'`],
      ["runs", "a reason that is no code", `update runs set reason = '${SECRET}'`],
      ["alarms", "a time that is no number", `update alarms set at_ms = '${SECRET}'`],
    ]
    for (const [table, what, change] of rows) {
      it(`names the table and not the value: ${table}, ${what}`, async () => {
        const database = await openDatabase({ file, clock })
        try {
          await database.users.add("acme", "user-1")
          await database.records.put("acme", [{ user: "user-1", version: 1, sealed: Uint8Array.of(1) }])
          await database.operations.begin({ tenant: "acme", id: "id-1", worker: "worker-1", product: "endpoint", workflow: "backup.manual", run: null })
          await database.schedules.add({ tenant: "acme", name: "nightly", user: "user-1", product: "endpoint", workflow: "backup.scheduled", job: "files", cron: "* * * * *", parameters: {}, enabled: true })
          await database.runs.start({ id: "run-1", tenant: "acme", schedule: "nightly", user: "user-1", job: "files" })
          await database.alarms.raise({ tenant: null, kind: "a", detail: "b" })
          const reads: Readonly<Record<string, () => Promise<unknown>>> = {
            users: () => database.users.list("acme"),
            records: () => database.records.since("acme", 0, 9),
            operations: () => database.operations.find("acme", "id-1"),
            schedules: () => database.schedules.list(),
            runs: () => database.runs.last("acme", "nightly", 9),
            alarms: () => database.alarms.list(null, 9),
          }
          const read = reads[table]
          assert.ok(read)
          await read()
          tamper(change)
          await assert.rejects(read(), (error: Error & { code?: string }) => {
            assert.equal(error.code, "ERR_STORE")
            assert.match(error.message, new RegExp(`table ${table} `))
            assert.doesNotMatch(`${error.message} ${String(error.cause)}`, new RegExp(SECRET))
            return true
          })
        } finally {
          await database.close()
        }
      })
    }
  })
})
