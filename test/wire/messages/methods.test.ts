import assert from "node:assert/strict"
import { METHODS } from "../../../src/wire/methods.ts"
import type { MethodName } from "../../../src/wire/methods.ts"

const ID = "AAAAAAAAAAAAAAAAAAAAAA"
const BYTES_32 = "A".repeat(43)
const DER = "MIIB"
const LIST = { role: "worker", number: 1, issuedAtMs: 0, nextUpdateMs: 1, serials: ["4".repeat(32)], signature: DER }
const CERTIFICATES = { certificate: DER, roots: { gateway: [DER], connector: [DER], worker: [DER] } }
const ASK = { operation: ID, session: ID, sequence: 1, workflow: "backup.manual", reason: "", proof: BYTES_32, deadlineMs: 1 }
const FAILED = { state: "failed", exitCode: 3, reason: "ERR_JOB_FAILED", detail: "x" }
const HELLO = { nowMs: 0, revocations: [LIST] }

/** For each method a message that is in order: what every row below is a change of. */
const SAMPLES: Record<MethodName, { params: object; result: object }> = {
  "certificate.enrol": { params: { role: "worker", tokenId: ID, csr: DER, proof: BYTES_32, deadlineMs: 1 }, result: CERTIFICATES },
  "certificate.renew": { params: { role: "worker", certificate: DER, csr: DER, issuedAtMs: 0, signature: DER, deadlineMs: 1 }, result: CERTIFICATES },
  "revocation.current": { params: { deadlineMs: 1 }, result: { list: LIST } },
  "revocation.update": { params: { revocations: [LIST], deadlineMs: 1 }, result: {} },
  "connector.hello": { params: { instance: ID, software: "0.1.0", deadlineMs: 1 }, result: HELLO },
  "worker.hello": { params: { instance: ID, software: "0.1.0", serves: { jobs: ["documents"], runs: [ID] }, deadlineMs: 1 }, result: HELLO },
  "session.open": {
    params: { certificate: DER, kemPublicKey: BYTES_32, nonce: ID, issuedAtMs: 0, signature: DER, deadlineMs: 1 },
    result: { session: ID, certificate: DER, encapsulatedKey: BYTES_32, expiresAtMs: 1, signature: DER },
  },
  "operation.begin": { params: { product: "microsoft-365", workflow: "backup.manual", run: null, deadlineMs: 1 }, result: { operation: ID } },
  "operation.end": { params: { operation: ID, outcome: FAILED, deadlineMs: 1 }, result: {} },
  "ekey.release": { params: { ...ASK, user: "u", version: null }, result: { version: 1, expiresAtMs: 1, sealed: "A".repeat(64) } },
  "ekey.releaseMany": { params: { ...ASK, users: ["u", "v"] }, result: { expiresAtMs: 1, sealed: DER } },
  "ekey.provision": { params: { user: "u", deadlineMs: 1 }, result: { version: 1, created: true } },
  "records.put": { params: { records: [{ user: "u", version: 1, record: DER }], deadlineMs: 1 }, result: { stored: 1 } },
  "job.start": { params: { run: ID, job: "documents", user: "u", product: "endpoint", workflow: "backup.scheduled", parameters: { name: "value" }, deadlineMs: 1 }, result: {} },
  "job.cancel": { params: { run: ID, deadlineMs: 1 }, result: {} },
  "job.finished": { params: { run: ID, outcome: { state: "succeeded", exitCode: 0, statistics: { files: 1 } }, deadlineMs: 1 }, result: {} },
}

type Path = readonly (string | number)[]

/** The places of all objects in a value, itself included. */
function* objectsIn(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value !== "object" || value === null) return
  if (!Array.isArray(value)) yield path
  for (const [key, inner] of Object.entries(value)) yield* objectsIn(inner, [...path, Array.isArray(value) ? Number(key) : key])
}

/** The places of all values inside a value. */
function* placesIn(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path
  if (typeof value !== "object" || value === null) return
  for (const [key, inner] of Object.entries(value)) yield* placesIn(inner, [...path, Array.isArray(value) ? Number(key) : key])
}

/** A deep copy in which `change` was done to the object at `path`. Keys are set as JSON.parse does, __proto__ too. */
function changed(sample: object, path: Path, change: (at: Record<string, unknown>) => void): unknown {
  const copy: unknown = JSON.parse(JSON.stringify(sample))
  let at = copy as Record<string | number, unknown>
  for (const key of path) at = at[key] as Record<string | number, unknown>
  change(at)
  return copy
}

function show(value: unknown): string {
  return value === undefined ? "undefined" : JSON.stringify(value).slice(0, 30)
}

function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
}

/** Records by free names: there an unknown name that fits is a name like any other. */
const OPEN_RECORDS = new Set(["parameters", "statistics"])

const WRONG: readonly unknown[] = [undefined, {}, [], [[]], true, -1, 0.5, 1e308, "\0", "ü", "x".repeat(20_000)]

describe("Every message of the wire", () => {
  for (const [method, sample] of Object.entries(SAMPLES)) {
    const schemas = METHODS[method as MethodName]
    for (const half of ["params", "result"] as const) {
      const schema = schemas[half]
      const good = sample[half]

      it(`${method} ${half}: takes what is in order`, () => {
        assert.deepEqual(schema.parse(JSON.parse(JSON.stringify(good))), good)
      })

      it(`${method} ${half}: refuses an unknown field at every level, __proto__ and constructor too`, () => {
        for (const path of objectsIn(good)) {
          for (const key of ["extra", "__proto__", "constructor", "toString", "hasOwnProperty", ""]) {
            if (key !== "__proto__" && OPEN_RECORDS.has(String(path.at(-1)))) continue
            for (const value of [{ polluted: 1 }, "text", 1, null]) {
              const wrong = changed(good, path, (at) => { setOwn(at, key, value) })
              assert.equal(schema.safeParse(wrong).success, false, `${key} in ${path.join(".") || "the top"}`)
            }
          }
        }
        assert.equal("polluted" in {}, false)
      })

      it(`${method} ${half}: refuses a missing field at every level`, () => {
        for (const path of placesIn(good)) {
          const key = path.at(-1)
          if (typeof key === "number" || OPEN_RECORDS.has(String(path.at(-2)))) continue
          const wrong = changed(good, path.slice(0, -1), (at) => { Reflect.deleteProperty(at, String(key)) })
          assert.equal(schema.safeParse(wrong).success, false, path.join("."))
        }
      })

      it(`${method} ${half}: refuses another type in every place`, () => {
        for (const path of placesIn(good)) {
          const key = String(path.at(-1))
          const right: unknown = path.reduce<unknown>((at, step) => (at as Record<string | number, unknown>)[step], good)
          for (const value of WRONG) {
            if (allows(key, right, value)) continue
            const wrong = changed(good, path.slice(0, -1), (at) => { setOwn(at, key, value) })
            assert.equal(schema.safeParse(wrong).success, false, `${path.join(".")} = ${show(value)}`)
          }
        }
      })

      for (const value of [null, undefined, true, 1, "x", [], [good]]) {
        it(`${method} ${half}: refuses ${value === undefined ? "nothing" : JSON.stringify(value).slice(0, 20)} instead`, () => {
          assert.equal(schema.safeParse(value).success, false)
        })
      }
    }
  }
})

/** The few wrong-looking values that are in order where they stand. */
function allows(key: string, right: unknown, value: unknown): boolean {
  if (typeof right === "boolean") return value === true
  // Words that people write, counters that are fractions, lists and records that may be empty.
  if (["reason", "detail", "software", "name"].includes(key)) return typeof value === "string" && value.length < 65 && right !== "ERR_JOB_FAILED"
  if (key === "files") return value === 0.5 || value === 1e308
  if (["jobs", "runs", "serials"].includes(key) || (key === "revocations" && "length" in Object(right))) return Array.isArray(value) && value.length === 0
  if (OPEN_RECORDS.has(key)) return typeof value === "object" && !Array.isArray(value)
  return false
}

describe("Messages with limits", () => {
  const params = (method: MethodName, change: object): boolean => METHODS[method].params.safeParse({ ...SAMPLES[method].params, ...change }).success
  const many = (length: number, prefix = "u"): string[] => Array.from({ length }, (_, index) => prefix + String(index))

  const rows: readonly [string, MethodName, object, object][] = [
    ["256 users in one release", "ekey.releaseMany", { users: many(256) }, { users: many(257) }],
    ["at least one user in one release", "ekey.releaseMany", { users: ["u"] }, { users: [] }],
    ["256 characters of reason", "ekey.release", { reason: "r".repeat(256) }, { reason: "r".repeat(257) }],
    ["a sequence from 1", "ekey.release", { sequence: 1 }, { sequence: 0 }],
    ["a sequence that is exact", "ekey.release", { sequence: Number.MAX_SAFE_INTEGER }, { sequence: Number.MAX_SAFE_INTEGER + 1 }],
    ["500 records at once", "records.put", { records: many(500).map((user) => ({ user, version: 1, record: DER })) }, { records: many(501).map((user) => ({ user, version: 1, record: DER })) }],
    ["at least one record", "records.put", { records: [{ user: "u", version: 1, record: DER }] }, { records: [] }],
    ["256 bytes of record", "records.put", { records: [{ user: "u", version: 1, record: Buffer.alloc(256).toString("base64url") }] }, { records: [{ user: "u", version: 1, record: Buffer.alloc(257).toString("base64url") }] }],
    ["4,096 bytes of request", "certificate.enrol", { csr: Buffer.alloc(4096).toString("base64url") }, { csr: Buffer.alloc(4097).toString("base64url") }],
    ["1,000 jobs", "worker.hello", { serves: { jobs: many(1000, "j"), runs: [] } }, { serves: { jobs: many(1001, "j"), runs: [] } }],
    ["32 parameters", "job.start", { parameters: Object.fromEntries(many(32, "p").map((name) => [name, ""])) }, { parameters: Object.fromEntries(many(33, "p").map((name) => [name, ""])) }],
    ["1,024 characters of parameter", "job.start", { parameters: { p: "v".repeat(1024) } }, { parameters: { p: "v".repeat(1025) } }],
    ["16 counters", "job.finished", { outcome: { state: "succeeded", exitCode: 0, statistics: counters(16) } }, { outcome: { state: "succeeded", exitCode: 0, statistics: counters(17) } }],
    ["exit codes to 255", "job.finished", { outcome: { ...FAILED, exitCode: 255 } }, { outcome: { ...FAILED, exitCode: 256 } }],
    ["1,000 characters of detail", "job.finished", { outcome: { ...FAILED, detail: "d".repeat(1000) } }, { outcome: { ...FAILED, detail: "d".repeat(1001) } }],
    ["a success without a reason", "job.finished", { outcome: { state: "succeeded", exitCode: 0, statistics: {} } }, { outcome: { ...FAILED, state: "succeeded" } }],
    ["an outcome's state by its own name", "job.finished", { outcome: FAILED }, { outcome: { ...FAILED, state: "constructor" } }],
    ["three lists", "revocation.update", { revocations: [LIST, LIST, LIST] }, { revocations: [LIST, LIST, LIST, LIST] }],
    ["serials in ascending order", "revocation.update", { revocations: [{ ...LIST, serials: ["4".repeat(32), "5".repeat(32)] }] }, { revocations: [{ ...LIST, serials: ["5".repeat(32), "4".repeat(32)] }] }],
    ["each serial once", "revocation.update", { revocations: [{ ...LIST, serials: [] }] }, { revocations: [{ ...LIST, serials: ["4".repeat(32), "4".repeat(32)] }] }],
  ]
  for (const [name, method, within, beyond] of rows) {
    it(`take ${name}, and not more`, () => {
      assert.deepEqual([params(method, within), params(method, beyond)], [true, false])
    })
  }
})

function counters(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`counter${String.fromCharCode(97 + index)}`, index]))
}
