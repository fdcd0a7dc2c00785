import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { z } from "zod"
import { EkeyError } from "../../../src/base/errors.ts"
import { MAX_IN_FLIGHT, MAX_STRIKES } from "../../../src/wire/limits.ts"
import { namedValues } from "../../../src/wire/messages/named-values.ts"
import { RpcPeer } from "../../../src/wire/rpc/peer.ts"
import type { Handlers } from "../../../src/wire/rpc/peer.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { PipeEnd, RawEnd } from "../../support/frame-pipe.ts"

const DeadlineMs = z.int().min(1).max(60_000)
const METHODS = {
  "echo": { params: z.strictObject({ text: z.string(), deadlineMs: DeadlineMs }), result: z.strictObject({ text: z.string() }) },
  "wait": { params: z.strictObject({ deadlineMs: DeadlineMs }), result: z.strictObject({}) },
  "nested": { params: z.strictObject({ a: z.strictObject({ b: namedValues(z.string(), z.string()) }), deadlineMs: DeadlineMs }), result: z.strictObject({}) },
} as const
type Methods = typeof METHODS

const waitForEver = (): Promise<never> => new Promise(() => undefined)

function errorOf(frame: unknown): { id: number | null; code: string } {
  const { id, error } = z.looseObject({ id: z.int().nullable(), error: z.looseObject({ data: z.looseObject({ code: z.string() }) }) }).parse(frame)
  return { id, code: error.data.code }
}

describe("A peer", () => {
  let clock: FakeClock
  let log: EventLog
  beforeEach(() => {
    clock = new FakeClock()
    log = new EventLog()
  })

  /** A peer, and the test as its other end. */
  function open(handlers: Handlers<Methods> = {}): { peer: RpcPeer<Methods>; raw: RawEnd } {
    const [near, far] = PipeEnd.pair()
    return { peer: new RpcPeer({ socket: near, methods: METHODS, handlers, clock, log }), raw: new RawEnd(far) }
  }

  /** Two peers that talk to each other. */
  function openPair(handlers: Handlers<Methods>): { caller: RpcPeer<Methods>; callee: RpcPeer<Methods> } {
    const [near, far] = PipeEnd.pair()
    return {
      caller: new RpcPeer({ socket: near, methods: METHODS, handlers: {}, clock, log }),
      callee: new RpcPeer({ socket: far, methods: METHODS, handlers, clock, log }),
    }
  }

  const echo: Handlers<Methods> = { echo: ({ text }) => Promise.resolve({ text }) }
  const wait: Handlers<Methods> = { wait: waitForEver }
  const request = (id: number, method: string, params: unknown): unknown => ({ jsonrpc: "2.0", id, method, params })
  const ask = (id: number, text = "x"): unknown => request(id, "echo", { text, deadlineMs: 1_000 })

  describe("as caller", () => {
    it("gets the answer to its own question, in whatever order answers come", async () => {
      const { peer, raw } = open()
      const first = peer.call("echo", { text: "1" }, 1_000)
      const second = peer.call("echo", { text: "2" }, 1_000)
      await nextTurn()
      assert.deepEqual(raw.take(), [ask(1, "1"), ask(2, "2")])
      await raw.send({ jsonrpc: "2.0", id: 2, result: { text: "two" } })
      await raw.send({ jsonrpc: "2.0", id: 1, result: { text: "one" } })
      assert.deepEqual([await first, await second], [{ text: "one" }, { text: "two" }])
    })

    it("sends how many whole milliseconds it waits", async () => {
      const { peer, raw } = open()
      void peer.call("wait", {}, 123.9).catch(() => undefined)
      await nextTurn()
      assert.deepEqual(raw.take(), [request(1, "wait", { deadlineMs: 123 })])
    })

    it("fails with ERR_DEADLINE at the deadline, and not one millisecond before", async () => {
      const { caller } = openPair(wait)
      const ends: unknown[] = []
      void caller.call("wait", {}, 1_000).catch((error: unknown) => ends.push(error))
      await clock.tick(999)
      assert.equal(ends.length, 0)
      await clock.tick(1)
      const [end] = ends
      assert.ok(end instanceof EkeyError)
      assert.deepEqual([end.code, end.retryable], ["ERR_DEADLINE", true])
    })

    it("refuses early what has no time left, without sending it", async () => {
      const { peer, raw } = open()
      for (const leftMs of [0.9, 0, -1, -1_000, Number.NaN]) {
        await assert.rejects(peer.call("echo", { text: "x" }, leftMs), { code: "ERR_DEADLINE" }, String(leftMs))
      }
      await nextTurn()
      assert.deepEqual(raw.received, [])
    })

    it("discards an answer that comes after the deadline, without holding it against the other end", async () => {
      const { peer, raw } = open()
      for (let call = 1; call <= MAX_STRIKES + 3; call++) {
        const asked = peer.call("echo", { text: "x" }, 100)
        const refused = assert.rejects(asked, { code: "ERR_DEADLINE" })
        await clock.tick(100)
        await refused
        raw.take()
        await raw.send(call % 2 === 0
          ? { jsonrpc: "2.0", id: call, result: { text: "late" } }
          : { jsonrpc: "2.0", id: call, error: { code: -32000, message: "late", data: { code: "ERR_STORE", retryable: true } } })
        assert.deepEqual(raw.take(), [])
      }
      assert.equal(raw.closed, undefined)
      const next = peer.call("echo", { text: "y" }, 100)
      await nextTurn()
      await raw.send({ jsonrpc: "2.0", id: MAX_STRIKES + 4, result: { text: "y" } })
      assert.deepEqual(await next, { text: "y" })
    })

    it("has one timer for all its calls, and none once they are answered", async () => {
      const { caller } = openPair({ ...echo, ...wait })
      const calls = Array.from({ length: 200 }, (_, index) => caller.call("echo", { text: String(index) }, 5_000 + index))
      assert.equal(clock.callbacks, 1)
      await Promise.all(calls)
      await clock.tick(10_000)
      assert.equal(clock.callbacks, 0)
    })

    it("asks no more than may be in flight: ERR_OVERLOADED, until one is answered", async () => {
      const { peer, raw } = open()
      const calls = Array.from({ length: MAX_IN_FLIGHT }, () => peer.call("echo", { text: "x" }, 1_000))
      const over = peer.call("echo", { text: "x" }, 1_000)
      await assert.rejects(over, (error) => error instanceof EkeyError && error.code === "ERR_OVERLOADED" && error.retryable)
      await nextTurn()
      assert.equal(raw.take().length, MAX_IN_FLIGHT)
      await raw.send({ jsonrpc: "2.0", id: 1, result: { text: "1" } })
      await calls[0]
      void peer.call("echo", { text: "again" }, 1_000).catch(() => undefined)
      await nextTurn()
      assert.equal(raw.take().length, 1)
      const rest = Promise.allSettled(calls)
      await clock.tick(1_000)
      assert.equal((await rest).filter(({ status }) => status === "rejected").length, MAX_IN_FLIGHT - 1)
    })

    it("gets the other end's error with its code and message, and nothing else", async () => {
      const { caller } = openPair({ echo: () => Promise.reject(new EkeyError("ERR_DENIED", "not released", { cause: new Error("detail") })) })
      await assert.rejects(caller.call("echo", { text: "x" }, 1_000), (error) => error instanceof EkeyError
        && error.code === "ERR_DENIED" && error.message === "not released" && error.cause === undefined)
    })

    it("fails with ERR_LINK_LOST when the connection ends before the answer, and after", async () => {
      const { peer, raw } = open()
      const asked = peer.call("wait", {}, 1_000)
      const refused = assert.rejects(asked, (error) => error instanceof EkeyError && error.code === "ERR_LINK_LOST" && error.retryable)
      peer.close(1001, "done")
      await refused
      assert.deepEqual(await peer.closed, { code: 1001, reason: "done" })
      assert.deepEqual([peer.isOpen, clock.callbacks], [false, 0])
      await assert.rejects(peer.call("wait", {}, 1_000), { code: "ERR_LINK_LOST" })
      assert.equal(raw.closed?.code, 1001)
    })

    const wrongResults: readonly [string, unknown][] = [
      ["of another form", { text: 1 }], ["with an unknown field", { text: "x", more: 1 }], ["missing a field", {}], ["null", null],
      ["with a __proto__", JSON.parse('{"text":"x","__proto__":{"polluted":1}}')],
    ]
    for (const [name, result] of wrongResults) {
      it(`refuses a result ${name}: ERR_FRAME to the caller, and the other end is told`, async () => {
        const { peer, raw } = open()
        const refused = assert.rejects(peer.call("echo", { text: "x" }, 1_000), { code: "ERR_FRAME" })
        await nextTurn()
        raw.take()
        await raw.send({ jsonrpc: "2.0", id: 1, result })
        await refused
        assert.deepEqual(raw.take().map(errorOf), [{ id: null, code: "ERR_FRAME" }])
        assert.equal("polluted" in {}, false)
      })
    }

    it("takes one answer for each question: the same again is an answer to nothing", async () => {
      const { peer, raw } = open()
      const asked = peer.call("echo", { text: "x" }, 1_000)
      await nextTurn()
      raw.take()
      await raw.send({ jsonrpc: "2.0", id: 1, result: { text: "x" } })
      await raw.send({ jsonrpc: "2.0", id: 1, result: { text: "other" } })
      assert.deepEqual(await asked, { text: "x" })
      assert.deepEqual(raw.take().map(errorOf), [{ id: null, code: "ERR_FRAME" }])
    })
  })

  describe("as callee", () => {
    it("answers requests side by side", async () => {
      const gate = Promise.withResolvers<undefined>()
      const { raw } = open({ echo: async ({ text }) => { if (text === "slow") await gate.promise; return { text } } })
      await raw.send(ask(1, "slow"))
      await raw.send(ask(2, "quick"))
      assert.deepEqual(raw.take(), [{ jsonrpc: "2.0", id: 2, result: { text: "quick" } }])
      gate.resolve(undefined)
      await nextTurn()
      assert.deepEqual(raw.take(), [{ jsonrpc: "2.0", id: 1, result: { text: "slow" } }])
    })

    it("tells its handler how long the caller still waits", async () => {
      const left: number[] = []
      const gate = Promise.withResolvers<undefined>()
      const { raw } = open({
        wait: async (_params, context) => {
          left.push(context.remainingMs())
          await gate.promise
          left.push(context.remainingMs())
          return {}
        },
      })
      await raw.send(request(1, "wait", { deadlineMs: 500 }))
      await clock.tick(501)
      gate.resolve(undefined)
      await nextTurn()
      assert.deepEqual(left, [500, -1])
    })

    it("hides a defect behind ERR_INTERNAL, and logs it", async () => {
      for (const fail of [() => Promise.reject(new TypeError("secret detail")), () => { throw new Error("secret detail") }]) {
        const { raw } = open({ echo: fail })
        await raw.send(ask(1))
        const text = raw.received.join("")
        assert.ok(!text.includes("secret"))
        assert.deepEqual(raw.take().map(errorOf), [{ id: 1, code: "ERR_INTERNAL" }])
      }
      assert.deepEqual(log.fieldOf("request failed unexpectedly", "error"), ["secret detail", "secret detail"])
    })

    it("works on no more than may be in flight: ERR_OVERLOADED, which is no offence", async () => {
      const { peer, raw } = open({ ...wait, ...echo })
      for (let id = 1; id <= MAX_IN_FLIGHT; id++) await raw.send(request(id, "wait", { deadlineMs: 60_000 }))
      assert.equal(peer.serving, MAX_IN_FLIGHT)
      for (let id = 1; id <= MAX_STRIKES + 1; id++) await raw.send(ask(MAX_IN_FLIGHT + id))
      assert.deepEqual(raw.take().map(errorOf), Array.from({ length: MAX_STRIKES + 1 }, (_, index) => ({ id: MAX_IN_FLIGHT + 1 + index, code: "ERR_OVERLOADED" })))
      assert.deepEqual([peer.serving, raw.closed], [MAX_IN_FLIGHT, undefined])
    })

    it("names a wrong parameter by field, never by value", async () => {
      const { raw } = open({ ...echo, nested: () => Promise.resolve({}) })
      await raw.send(request(1, "echo", { text: { secret: "value" }, deadlineMs: 1 }))
      await raw.send(request(2, "echo", { text: "secret value", deadlineMs: 1, more: "secret value" }))
      await raw.send(request(3, "nested", { a: { b: { name: { secret: "value" } } }, deadlineMs: 1 }))
      const text = raw.received.join("")
      assert.ok(!text.includes("secret"))
      for (const field of ['"text: ', '"more: ', '"a.b.name: ']) assert.ok(text.includes(field), text)
    })

    it("cuts a field's name that is the caller's own, in the answer and in its log", async () => {
      const { raw } = open(echo)
      await raw.send(request(1, "echo", { text: "x", deadlineMs: 1, ["f".repeat(100_000)]: 1 }))
      assert.ok(raw.received.join("").length < 1_000)
      assert.ok(JSON.stringify(log.events).length < 1_000)
    })
  })

  describe("told nonsense", () => {
    const rows: readonly [string, unknown, { id: number | null; code: string }][] = [
      ["no JSON", "{", { id: null, code: "ERR_FRAME" }],
      ["a batch", [ask(1)], { id: null, code: "ERR_FRAME" }],
      ["a request without an id", { jsonrpc: "2.0", method: "echo", params: {} }, { id: null, code: "ERR_FRAME" }],
      ["an unknown method", request(5, "exec", { deadlineMs: 1 }), { id: 5, code: "ERR_METHOD" }],
      ["a method that this end does not answer", request(5, "nested", { a: { b: {} }, deadlineMs: 1 }), { id: 5, code: "ERR_METHOD" }],
      ["a method named __proto__", request(5, "__proto__", {}), { id: 5, code: "ERR_METHOD" }],
      ["a method named constructor", request(5, "constructor", {}), { id: 5, code: "ERR_METHOD" }],
      ["a method named toString", request(5, "toString", {}), { id: 5, code: "ERR_METHOD" }],
      ["an unknown parameter", request(5, "echo", { text: "x", deadlineMs: 1, more: 1 }), { id: 5, code: "ERR_PARAMS" }],
      ["a missing parameter", request(5, "echo", { deadlineMs: 1 }), { id: 5, code: "ERR_PARAMS" }],
      ["a parameter of the wrong type", request(5, "echo", { text: 1, deadlineMs: 1 }), { id: 5, code: "ERR_PARAMS" }],
      ["params that are an array", request(5, "echo", ["x", 1]), { id: 5, code: "ERR_PARAMS" }],
      ["params that are null", request(5, "echo", null), { id: 5, code: "ERR_PARAMS" }],
      ["no deadline", request(5, "echo", { text: "x" }), { id: 5, code: "ERR_PARAMS" }],
      ["a deadline of 0", request(5, "echo", { text: "x", deadlineMs: 0 }), { id: 5, code: "ERR_PARAMS" }],
      ["a deadline beyond any", request(5, "echo", { text: "x", deadlineMs: 1e15 }), { id: 5, code: "ERR_PARAMS" }],
      ["a __proto__ parameter", '{"jsonrpc":"2.0","id":5,"method":"echo","params":{"text":"x","deadlineMs":1,"__proto__":{"polluted":1}}}', { id: 5, code: "ERR_PARAMS" }],
      ["parameters in a __proto__", '{"jsonrpc":"2.0","id":5,"method":"echo","params":{"__proto__":{"text":"x","deadlineMs":1}}}', { id: 5, code: "ERR_PARAMS" }],
      ["a constructor parameter", request(5, "echo", { text: "x", deadlineMs: 1, constructor: { prototype: { polluted: 1 } } }), { id: 5, code: "ERR_PARAMS" }],
      ["params nested without end", `{"jsonrpc":"2.0","id":5,"method":"echo","params":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, { id: 5, code: "ERR_PARAMS" }],
      ["a result that nobody asked for", { jsonrpc: "2.0", id: 9, result: {} }, { id: null, code: "ERR_FRAME" }],
      ["an error that nobody asked for", { jsonrpc: "2.0", id: 9, error: { code: 1, message: "m", data: { code: "ERR_STORE", retryable: true } } }, { id: null, code: "ERR_FRAME" }],
    ]
    for (const [name, frame, told] of rows) {
      it(`says so, and closes with 4400 once it goes on: ${name}`, async () => {
        const { peer, raw } = open({ ...echo, ...wait })
        for (let strike = 1; strike < MAX_STRIKES; strike++) {
          await raw.send(frame)
          assert.deepEqual(raw.take().map(errorOf), [told])
          assert.equal(raw.closed, undefined)
        }
        await raw.send(ask(100, "still served"))
        assert.deepEqual(raw.take(), [{ jsonrpc: "2.0", id: 100, result: { text: "still served" } }])
        await raw.send(frame)
        assert.deepEqual(raw.take().map(errorOf), [told])
        assert.equal(raw.closed?.code, 4400)
        assert.deepEqual([peer.isOpen, peer.serving], [false, 0])
        assert.equal("polluted" in {}, false)
        assert.equal(log.of("frame refused").length, MAX_STRIKES)
      })
    }

    it("at a deeper level refuses __proto__ too, and lets constructor be the name that it is", async () => {
      const seen: unknown[] = []
      const { raw } = open({ nested: (params) => { seen.push(params.a.b); return Promise.resolve({}) } })
      await raw.send('{"jsonrpc":"2.0","id":1,"method":"nested","params":{"a":{"b":{"__proto__":"x"}},"deadlineMs":1}}')
      await raw.send('{"jsonrpc":"2.0","id":2,"method":"nested","params":{"a":{"__proto__":{"b":{}},"b":{}},"deadlineMs":1}}')
      assert.deepEqual(raw.take().map(errorOf), [{ id: 1, code: "ERR_PARAMS" }, { id: 2, code: "ERR_PARAMS" }])
      await raw.send('{"jsonrpc":"2.0","id":3,"method":"nested","params":{"a":{"b":{"constructor":"x"}},"deadlineMs":1}}')
      assert.deepEqual(seen, [{ constructor: "x" }])
    })

    it("refuses the id of a request in flight, and takes it again once that is answered", async () => {
      const gate = Promise.withResolvers<undefined>()
      let calls = 0
      const { peer, raw } = open({ wait: async () => { calls += 1; await gate.promise; return {} } })
      await raw.send(request(3, "wait", { deadlineMs: 1_000 }))
      await raw.send(request(3, "wait", { deadlineMs: 1_000 }))
      assert.deepEqual(raw.take().map(errorOf), [{ id: 3, code: "ERR_DUPLICATE_ID" }])
      assert.deepEqual([calls, peer.serving], [1, 1])
      gate.resolve(undefined)
      await nextTurn()
      assert.deepEqual(raw.take(), [{ jsonrpc: "2.0", id: 3, result: {} }])
      await raw.send(request(3, "wait", { deadlineMs: 1_000 }))
      assert.equal(calls, 2)
    })

    it("closes for ids that are repeated again and again", async () => {
      const { raw } = open(wait)
      for (let sent = 0; sent <= MAX_STRIKES; sent++) await raw.send(request(3, "wait", { deadlineMs: 1_000 }))
      assert.equal(raw.closed?.code, 4400)
    })

    it("does not answer complaints, which would go back and forth, and closes for too many", async () => {
      const { raw } = open(echo)
      for (let sent = 1; sent < MAX_STRIKES; sent++) await raw.send({ jsonrpc: "2.0", id: null, error: { code: -32600, message: "m", data: { code: "ERR_FRAME", retryable: false } } })
      assert.deepEqual([raw.received, raw.closed], [[], undefined])
      await raw.send({ jsonrpc: "2.0", id: null, error: { code: -32600, message: "m", data: { code: "ERR_FRAME", retryable: false } } })
      assert.deepEqual([raw.received, raw.closed?.code], [[], 4400])
    })

    it("looks at nothing any more once it has decided to close", async () => {
      const [near, far] = PipeEnd.pair()
      let served = 0
      // The other end of a close that is never answered goes on sending.
      const socket = { send: (text: string) => { near.send(text) }, close: () => undefined, listen: near.listen.bind(near) }
      new RpcPeer({ socket, methods: METHODS, handlers: { echo: ({ text }) => { served += 1; return Promise.resolve({ text }) } }, clock, log })
      const raw = new RawEnd(far)
      for (let strike = 0; strike < MAX_STRIKES; strike++) await raw.send("{")
      raw.take()
      for (let id = 1; id < 10; id++) await raw.send(ask(id))
      await raw.send("{")
      assert.deepEqual([served, raw.received], [0, []])
      assert.equal(log.of("frame refused").length, MAX_STRIKES)
    })
  })
})
