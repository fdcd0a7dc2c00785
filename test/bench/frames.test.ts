import assert from "node:assert/strict"
import { sampleFrames } from "../../bench/release/frames.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { parseFrame } from "../../src/wire/rpc/frame.ts"

describe("the relay's frames", () => {
  it("are as long as a request and an answer that the protocol accepts", () => {
    const { request, reply } = sampleFrames()
    const asked = parseFrame(request)
    const answered = parseFrame(reply)
    assert.ok(asked.kind === "request" && METHODS["ekey.release"].params.safeParse(asked.params).success)
    assert.ok(answered.kind === "result" && METHODS["ekey.release"].result.safeParse(answered.result).success)
  })
})
