import assert from "node:assert/strict"
import { readStatistics, StatisticsMap } from "../../src/worker/job-statistics.ts"

const MAP = { files: "total_files_processed", bytes: "total_bytes_processed" }

describe("A job's counters", () => {
  it("are read from the line that has them all, by the names that the program has for them", () => {
    const line = '{"message_type":"summary","total_files_processed":3,"total_bytes_processed":4096.5,"snapshot_id":"ab","nested":{"x":[1]}}'
    assert.deepEqual(readStatistics(line, MAP), { files: 3, bytes: 4096.5 })
  })

  const rows: readonly [string, string][] = [
    ["text", "3 files"], ["nothing", ""], ["half an object", '{"total_files_processed":3'], ["an array", "[1]"], ["text before the object", ' {"total_files_processed":3,"total_bytes_processed":1}'],
    ["one of two missing", '{"total_files_processed":3}'], ["a text instead of a number", '{"total_files_processed":"3","total_bytes_processed":1}'],
    ["a negative number", '{"total_files_processed":-3,"total_bytes_processed":1}'], ["null", '{"total_files_processed":null,"total_bytes_processed":1}'],
    ["infinity", '{"total_files_processed":1e999,"total_bytes_processed":1}'],
    ["counters in a __proto__", '{"__proto__":{"total_files_processed":3,"total_bytes_processed":1}}'],
    ["depth", `{"a":${"[".repeat(2_000)}`],
  ]
  for (const [name, line] of rows) {
    it(`are not read from a line with ${name}`, () => { assert.equal(readStatistics(line, MAP), null) })
  }

  it("are never taken from what every object has", () => {
    for (const key of ["constructor", "toString", "__proto__", "hasOwnProperty"]) assert.equal(readStatistics("{}", { files: key }), null)
  })

  it("may be none", () => {
    assert.deepEqual(readStatistics("{}", {}), {})
  })

  it("are at most 14 by name, so that a run's report has room for its own two", () => {
    const map = (count: number): Record<string, string> => Object.fromEntries(Array.from({ length: count }, (_, index) => [`c${String.fromCharCode(97 + index)}`, "x"]))
    assert.deepEqual([StatisticsMap.safeParse(map(14)).success, StatisticsMap.safeParse(map(15)).success], [true, false])
  })

  for (const name of ["Files", "9", "a_b", "", "x".repeat(33), "a b"]) {
    it(`can't be named ${JSON.stringify(name)}`, () => { assert.equal(StatisticsMap.safeParse({ [name]: "x" }).success, false) })
  }
})
