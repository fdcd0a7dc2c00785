import assert from "node:assert/strict"
import { ERROR_CODES, isErrorCode } from "../../../src/base/error-codes.ts"
import { EkeyError } from "../../../src/base/errors.ts"
import { errorFrame, parseFrame, requestFrame, resultFrame } from "../../../src/wire/rpc/frame.ts"

const REFUSED = { name: "EkeyError", code: "ERR_FRAME" }

const REQUEST = '{"jsonrpc":"2.0","id":7,"method":"job.cancel","params":{"run":"AAAAAAAAAAAAAAAAAAAAAA","deadlineMs":5}}'
const RESULT = '{"jsonrpc":"2.0","id":7,"result":{"stored":1}}'
const ERROR = '{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"not released","data":{"code":"ERR_DENIED","retryable":false}}}'

describe("Frames", () => {
  it("are read as request, result or error", () => {
    assert.deepEqual(parseFrame(REQUEST), { kind: "request", id: 7, method: "job.cancel", params: { run: "AAAAAAAAAAAAAAAAAAAAAA", deadlineMs: 5 } })
    assert.deepEqual(parseFrame(RESULT), { kind: "result", id: 7, result: { stored: 1 } })
    const frame = parseFrame(ERROR)
    assert.ok(frame.kind === "error")
    assert.deepEqual([frame.id, frame.error.code, frame.error.message, frame.error.retryable], [7, "ERR_DENIED", "not released", false])
  })

  it("that are written read back", () => {
    assert.deepEqual(parseFrame(requestFrame(1, "a.b", { x: "\u2028\"\\" })), { kind: "request", id: 1, method: "a.b", params: { x: "\u2028\"\\" } })
    assert.deepEqual(parseFrame(resultFrame(2, [null])), { kind: "result", id: 2, result: [null] })
    const frame = parseFrame(errorFrame(null, new EkeyError("ERR_FRAME", "no")))
    assert.ok(frame.kind === "error")
    assert.deepEqual([frame.id, frame.error.code, frame.error.message], [null, "ERR_FRAME", "no"])
  })

  it("carry JSON-RPC's own codes for errors of the envelope, -32000 for all others, and whether a retry helps", () => {
    const numbers: Partial<Record<string, number>> = { ERR_FRAME: -32600, ERR_METHOD: -32601, ERR_PARAMS: -32602, ERR_INTERNAL: -32603 }
    for (const code of Object.keys(ERROR_CODES).filter(isErrorCode)) {
      assert.deepEqual(JSON.parse(errorFrame(1, new EkeyError(code, "m"))), {
        jsonrpc: "2.0", id: 1, error: { code: numbers[code] ?? -32000, message: "m", data: { code, retryable: ERROR_CODES[code].retryable } },
      })
    }
  })

  it("never carry an error's cause, nor more than 1,024 characters of its message", () => {
    const text = errorFrame(1, new EkeyError("ERR_STORE", "m".repeat(5_000), { cause: new Error("/var/lib/secret") }))
    assert.ok(!text.includes("secret"))
    const frame = parseFrame(text)
    assert.ok(frame.kind === "error")
    assert.equal(frame.error.message.length, 1024)
  })

  it("with a code that this version does not know become ERR_INTERNAL, which is not retried", () => {
    for (const code of ["ERR_FROM_THE_FUTURE", "__proto__", "constructor", "toString"]) {
      const frame = parseFrame(ERROR.replace("ERR_DENIED", code))
      assert.ok(frame.kind === "error")
      assert.equal(frame.error.code, "ERR_INTERNAL")
    }
  })

  for (const [name, text] of [["a request", REQUEST], ["a result", RESULT], ["an error", ERROR]] as const) {
    it(`are refused when ${name} is truncated at any length`, () => {
      for (let length = 0; length < text.length; length++) assert.throws(() => parseFrame(text.slice(0, length)), REFUSED, text.slice(0, length))
    })
  }

  const rows: readonly [string, string][] = [
    ["nothing", ""], ["no JSON", "hello"], ["two values", `${REQUEST}${REQUEST}`], ["a byte order mark", `\uFEFF${REQUEST}`],
    ["null", "null"], ["a number", "1"], ["a string", '"x"'], ["an empty object", "{}"],
    ["a batch", `[${REQUEST}]`], ["an empty batch", "[]"],
    ["a request without an id", '{"jsonrpc":"2.0","method":"job.cancel","params":{}}'],
    ["a request with id null", REQUEST.replace('"id":7', '"id":null')],
    ["id 0", REQUEST.replace('"id":7', '"id":0')],
    ["a negative id", REQUEST.replace('"id":7', '"id":-1')],
    ["an id with a fraction", REQUEST.replace('"id":7', '"id":7.5')],
    ["a text as id", REQUEST.replace('"id":7', '"id":"7"')],
    ["an id above 2^53", REQUEST.replace('"id":7', '"id":9007199254740993')],
    ["an id that overflows to infinity", REQUEST.replace('"id":7', '"id":1e999')],
    ["no version", '{"id":7,"method":"job.cancel","params":{}}'],
    ["version 1.0", REQUEST.replace('"2.0"', '"1.0"')],
    ["a version that is a number", REQUEST.replace('"2.0"', "2.0")],
    ["a method that is no text", REQUEST.replace('"job.cancel"', "{}")],
    ["a method of 65 characters", REQUEST.replace("job.cancel", "m".repeat(65))],
    ["a request without params", '{"jsonrpc":"2.0","id":7,"method":"job.cancel"}'],
    ["a request with a result", REQUEST.replace('"params"', '"result":1,"params"')],
    ["an unknown field in a request", REQUEST.replace('"id"', '"extra":1,"id"')],
    ["an unknown field in a result", RESULT.replace('"id"', '"extra":1,"id"')],
    ["a result without an id", '{"jsonrpc":"2.0","result":1}'],
    ["a result with id null", '{"jsonrpc":"2.0","id":null,"result":1}'],
    ["a result and an error", ERROR.replace('"error"', '"result":1,"error"')],
    ["an error without an id", ERROR.replace('"id":7,', "")],
    ["an error that is a text", '{"jsonrpc":"2.0","id":7,"error":"no"}'],
    ["an error without data", '{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"m"}}'],
    ["an error code that is a text", ERROR.replace("-32000", '"-32000"')],
    ["an error message of 1,025 characters", ERROR.replace("not released", "m".repeat(1025))],
    ["an unknown field in an error", ERROR.replace('"message"', '"stack":"at","message"')],
    ["an unknown field in an error's data", ERROR.replace('"retryable"', '"path":"/","retryable"')],
    ["retryable that is a text", ERROR.replace("false", '"false"')],
    ["a __proto__ in a request", REQUEST.replace('"id"', '"__proto__":{"polluted":1},"id"')],
    ["a __proto__ written with escapes", REQUEST.replace('"id"', '"\\u005f_proto__":{"polluted":1},"id"')],
    ["a request inside a __proto__", `{"__proto__":${REQUEST}}`],
    ["a __proto__ in a result", RESULT.replace('"id"', '"__proto__":{"polluted":1},"id"')],
    ["a __proto__ in an error", ERROR.replace('"message"', '"__proto__":{"polluted":1},"message"')],
    ["a __proto__ in an error's data", ERROR.replace('"retryable"', '"__proto__":{"polluted":1},"retryable"')],
    ["a constructor", REQUEST.replace('"id"', '"constructor":{"prototype":{"polluted":1}},"id"')],
    ["a toString", RESULT.replace('"id"', '"toString":1,"id"')],
    ["brackets half a megabyte deep", "[".repeat(500_000) + "]".repeat(500_000)],
  ]
  for (const [name, text] of rows) {
    it(`are refused: ${name}`, () => {
      assert.throws(() => parseFrame(text), REFUSED)
      assert.equal("polluted" in {}, false)
    })
  }

  it("that nest half a megabyte deep in their params are read, and left to the method's schema", () => {
    const frame = parseFrame(REQUEST.replace(/"params":.*/, `"params":${"[".repeat(200_000)}${"]".repeat(200_000)}}`))
    assert.equal(frame.kind, "request")
  })

  it("say nothing of the text that was refused", () => {
    assert.throws(() => parseFrame('{"secret-in-a-frame'), (error) => error instanceof EkeyError && !error.message.includes("secret"))
  })
})
