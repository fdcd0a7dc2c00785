import assert from "node:assert/strict"
import { z } from "zod"
import { namedValues } from "../../../src/wire/messages/named-values.ts"
import { Name } from "../../../src/wire/messages/scalars.ts"

describe("Values by name", () => {
  const schema = namedValues(Name, z.string())

  it("are read, whatever words the names are", () => {
    const values = { a: "1", constructor: "2", prototype: "3", valueof: "4" }
    assert.deepEqual(schema.parse(values), values)
  })

  for (const text of ['{"__proto__":"x"}', '{"__proto__":{"a":"b"}}', '{"a":"b","__proto__":null}', '{"a":"b","\\u005f\\u005fproto\\u005f\\u005f":"c"}']) {
    it(`are refused, not thinned out, with a __proto__ among the names: ${text}`, () => {
      const parsed = schema.safeParse(JSON.parse(text))
      assert.deepEqual(parsed.error?.issues.map(({ code, path }) => [code, path]), [["unrecognized_keys", []]])
    })
  }

  it("name the place of a __proto__ that is further in", () => {
    const parsed = z.strictObject({ jobs: schema }).safeParse(JSON.parse('{"jobs":{"__proto__":"x"}}'))
    assert.deepEqual(parsed.error?.issues.map(({ path }) => path), [["jobs"]])
  })

  for (const value of [null, [], "x", 1, undefined, { a: 1 }, { "A": "x" }, { "": "x" }]) {
    it(`are refused: ${value === undefined ? "nothing" : JSON.stringify(value)}`, () => { assert.equal(schema.safeParse(value).success, false) })
  }

  it("have the JSON Schema of a record", () => {
    assert.deepEqual(z.toJSONSchema(schema, { io: "input" }).additionalProperties, { type: "string" })
  })
})
