import assert from "node:assert/strict"
import { ERROR_CODES, isErrorCode } from "../../src/base/error-codes.ts"
import { EkeyError, codeOf, describeError } from "../../src/base/errors.ts"

describe("error codes", () => {
  for (const [code, row] of Object.entries(ERROR_CODES)) {
    it(`${code} says what happened and what to do, without a full stop`, () => {
      assert.match(code, /^ERR_[A-Z]+(_[A-Z0-9]+)*$/)
      for (const sentence of [row.what, row.mend]) assert.match(sentence, /^\S.*[^.\s]$/)
    })
  }

  it("are a closed list", () => {
    assert.equal(isErrorCode("ERR_DENIED"), true)
    for (const stranger of ["ERR_OTHER", "err_denied", "", "toString", "__proto__", "constructor"]) {
      assert.equal(isErrorCode(stranger), false, stranger)
    }
  })
})

describe("EkeyError", () => {
  it("carries its code, its message, its cause and its name", () => {
    const cause = new Error("detail")
    const error = new EkeyError("ERR_STORE", "the store is away", { cause })
    assert.deepEqual([error.name, error.code, error.message, error.cause], ["EkeyError", "ERR_STORE", "the store is away", cause])
    assert.ok(error instanceof Error)
  })

  it("is retryable if its code's row says so", () => {
    assert.equal(new EkeyError("ERR_NO_CONNECTOR", "none").retryable, true)
    assert.equal(new EkeyError("ERR_DENIED", "no").retryable, false)
  })
})

describe("codeOf", () => {
  it("knows no code of errors that are not ours, whatever they carry", () => {
    assert.equal(codeOf(new EkeyError("ERR_DENIED", "no")), "ERR_DENIED")
    for (const stranger of [Object.assign(new Error("no"), { code: "ERR_DENIED" }), { code: "ERR_DENIED" }, null, undefined, "ERR_DENIED"]) {
      assert.equal(codeOf(stranger), undefined)
    }
  })
})

describe("describeError", () => {
  it("gives code, message and the causes' messages, and nothing else of them", () => {
    const vendor = Object.assign(new Error("vendor"), { apiKey: "hush" })
    const error = new EkeyError("ERR_STORE", "top", { cause: new Error("middle", { cause: vendor }) })
    assert.deepEqual(describeError(error), { code: "ERR_STORE", error: "top", cause: "middle: vendor" })
  })

  it("leaves out what an error does not have", () => {
    assert.deepEqual(describeError(new Error("plain")), { error: "plain" })
    assert.deepEqual(describeError(new Error("odd", { cause: "text" })), { error: "odd" })
    assert.deepEqual(describeError("thrown text"), { error: "thrown text" })
    assert.deepEqual(describeError(undefined), { error: "undefined" })
  })

  it("ends with causes that go round in a circle", () => {
    const error = new Error("round")
    error.cause = error
    assert.deepEqual(describeError(error), { error: "round", cause: "round: round: round: round" })
  })
})
