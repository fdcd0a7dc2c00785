import type { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { describeError, EkeyError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import { CLOSE_CODES, MAX_IN_FLIGHT, MAX_STRIKES } from "../limits.ts"
import { Deadlines } from "./deadlines.ts"
import { errorFrame, parseFrame, requestFrame, resultFrame } from "./frame.ts"
import type { Frame } from "./frame.ts"
import type { FrameSocket } from "./frame-socket.ts"

/** Methods by name, each with the schemas of its parameters and its result. */
export type MethodTable = Readonly<Record<string, { readonly params: z.ZodType; readonly result: z.ZodType }>>

type Params<T extends MethodTable, M extends keyof T> = z.infer<T[M]["params"]>
type Result<T extends MethodTable, M extends keyof T> = z.infer<T[M]["result"]>

/** How long the caller still waits. */
export interface RequestContext {
  /** Milliseconds left; 0 or less when the answer would come too late. */
  remainingMs(): number
}

export type Handler<T extends MethodTable, M extends keyof T> = (params: Params<T, M>, context: RequestContext) => Promise<Result<T, M>>
export type Handlers<T extends MethodTable> = { readonly [M in keyof T]?: Handler<T, M> }

export interface PeerOptions<T extends MethodTable> {
  readonly socket: FrameSocket
  readonly methods: T
  /** What this end answers; every other method is ERR_METHOD. */
  readonly handlers: Handlers<T>
  readonly clock: Clock
  readonly log: Logger
}

interface Pending {
  readonly method: string
  readonly resolve: (result: unknown) => void
  readonly reject: (error: EkeyError) => void
}

/** Answers that came too late are expected for a while; older ones count as made up. */
const MAX_REMEMBERED_LATE = 4096

/** One end of a JSON-RPC 2.0 conversation, caller and callee at once. */
export class RpcPeer<T extends MethodTable> {
  readonly #socket: FrameSocket
  readonly #methods: T
  readonly #handlers: Handlers<T>
  readonly #clock: Clock
  readonly #log: Logger
  readonly #pending = new Map<number, Pending>()
  readonly #late = new Set<number>()
  readonly #serving = new Set<number>()
  readonly #deadlines: Deadlines
  readonly #closed = Promise.withResolvers<{ code: number; reason: string }>()
  #lastId = 0
  #strikes = 0
  #open = true

  constructor(options: PeerOptions<T>) {
    this.#socket = options.socket
    this.#methods = options.methods
    this.#handlers = options.handlers
    this.#clock = options.clock
    this.#log = options.log
    this.#deadlines = new Deadlines(options.clock, (id) => { this.#expire(id) })
    this.#socket.listen({
      onText: (text) => { this.#receive(text) },
      onClose: (code, reason) => { this.#end(code, reason) },
    })
  }

  /** Resolves when the connection has ended, whichever end closed it. */
  get closed(): Promise<{ code: number; reason: string }> {
    return this.#closed.promise
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Requests of the peer that are being worked on. */
  get serving(): number {
    return this.#serving.size
  }

  /**
   * Calls a method of the peer. `deadlineMs` is how long the answer is waited for, and is sent along.
   * @throws EkeyError the peer's own error; ERR_DEADLINE; ERR_LINK_LOST; ERR_FRAME for an answer outside the protocol.
   */
  call<M extends keyof T & string>(method: M, params: Omit<Params<T, M>, "deadlineMs">, deadlineMs: number): Promise<Result<T, M>> {
    return new Promise((resolve, reject) => {
      if (!this.#open) {
        reject(new EkeyError("ERR_LINK_LOST", "the connection has ended"))
        return
      }
      const leftMs = Math.floor(deadlineMs)
      if (!(leftMs >= 1)) { // Also what is no number.
        reject(new EkeyError("ERR_DEADLINE", "no time was left to ask"))
        return
      }
      if (this.#pending.size >= MAX_IN_FLIGHT) {
        reject(new EkeyError("ERR_OVERLOADED", "too many requests are in flight"))
        return
      }
      const id = ++this.#lastId
      // `#settle` has parsed what it resolves with by this very method's schema.
      // eslint-disable-next-line @typescript-eslint/no-unsafe-type-assertion
      this.#pending.set(id, { method, resolve: resolve as (result: unknown) => void, reject })
      this.#deadlines.add(id, leftMs)
      this.#socket.send(requestFrame(id, method, { ...params, deadlineMs: leftMs }))
    })
  }

  /** Ends the connection; pending calls fail with ERR_LINK_LOST once it has ended. */
  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
  }

  #receive(text: string): void {
    // The connection is ending because of this peer's frames: whatever it still sends is not looked at.
    if (this.#strikes >= MAX_STRIKES) return
    let frame: Frame
    try {
      frame = parseFrame(text)
    } catch (error) {
      this.#strike(error instanceof EkeyError ? error : new EkeyError("ERR_FRAME", "frame could not be read", { cause: error }))
      return
    }
    switch (frame.kind) {
      case "request":
        void this.#serve(frame.id, frame.method, frame.params)
        return
      case "result":
        this.#settle(frame.id, frame.result)
        return
      case "error":
        this.#fail(frame.id, frame.error)
        return
      default:
        frame satisfies never
    }
  }

  async #serve(id: number, method: string, rawParams: unknown): Promise<void> {
    if (this.#serving.has(id)) {
      this.#strike(new EkeyError("ERR_DUPLICATE_ID", "the id is in use"), id)
      return
    }
    const schema = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined
    const handler: Handler<T, keyof T> | undefined = Object.hasOwn(this.#handlers, method) ? this.#handlers[method] : undefined
    if (!schema || !handler) {
      this.#strike(new EkeyError("ERR_METHOD", "unknown method"), id)
      return
    }
    const parsed = schema.params.safeParse(rawParams)
    if (!parsed.success) {
      this.#strike(new EkeyError("ERR_PARAMS", describeIssue(parsed.error.issues[0])), id)
      return
    }
    if (this.#serving.size >= MAX_IN_FLIGHT) {
      this.#socket.send(errorFrame(id, new EkeyError("ERR_OVERLOADED", "too many requests are in flight")))
      return
    }
    this.#serving.add(id)
    const untilMs = this.#clock.monotonicMs() + deadlineOf(parsed.data)
    const context: RequestContext = { remainingMs: () => untilMs - this.#clock.monotonicMs() }
    try {
      // eslint-disable-next-line @typescript-eslint/no-unsafe-type-assertion -- parsed by this very method's schema
      const result = await handler(parsed.data as Params<T, keyof T>, context)
      this.#socket.send(resultFrame(id, result))
    } catch (error) {
      this.#socket.send(errorFrame(id, this.#toAnswer(method, error)))
    } finally {
      this.#serving.delete(id)
    }
  }

  /** Errors of ours are made for peers; anything else is a defect whose detail stays here. */
  #toAnswer(method: string, error: unknown): EkeyError {
    if (error instanceof EkeyError) return error
    this.#log.error("request failed unexpectedly", { method, ...describeError(error) })
    return new EkeyError("ERR_INTERNAL", "internal error")
  }

  #settle(id: number, rawResult: unknown): void {
    const pending = this.#take(id)
    if (!pending) return
    const parsed = this.#methods[pending.method]?.result.safeParse(rawResult)
    if (parsed?.success) {
      pending.resolve(parsed.data)
      return
    }
    const error = new EkeyError("ERR_FRAME", "the peer's answer has not the form of its method's result")
    pending.reject(error)
    this.#strike(error)
  }

  #fail(id: number | null, error: EkeyError): void {
    if (id === null) {
      // The peer says that a frame of ours was outside the protocol: worth a line, not an answer. One
      // that says so again and again would have ended the connection, or is lying.
      this.#log.warn("peer refused a frame", { code: error.code, error: error.message })
      this.#count()
      return
    }
    this.#take(id)?.reject(error)
  }

  /** The call that an answer belongs to, unless it is late (ignored) or nobody asked (a strike). */
  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    if (pending) {
      this.#pending.delete(id)
      this.#deadlines.remove(id)
    } else if (!this.#late.delete(id)) {
      this.#strike(new EkeyError("ERR_FRAME", "answer to a request that nobody made"))
    }
    return pending
  }

  #expire(id: number): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    this.#pending.delete(id)
    this.#late.add(id)
    if (this.#late.size > MAX_REMEMBERED_LATE) this.#late.delete(this.#late.values().next().value ?? id)
    pending.reject(new EkeyError("ERR_DEADLINE", "the answer did not come within the deadline"))
  }

  /** Tells the peer what was wrong, and ends the connection if it goes on. */
  #strike(error: EkeyError, id: number | null = null): void {
    this.#log.warn("frame refused", { code: error.code, error: error.message, strikes: this.#strikes + 1 })
    this.#socket.send(errorFrame(id, error))
    this.#count()
  }

  #count(): void {
    this.#strikes += 1
    if (this.#strikes >= MAX_STRIKES) this.close(CLOSE_CODES.protocol, "too many frames outside the protocol")
  }

  #end(code: number, reason: string): void {
    this.#open = false
    this.#deadlines.clear()
    for (const pending of this.#pending.values()) pending.reject(new EkeyError("ERR_LINK_LOST", "the connection ended before the answer came"))
    this.#pending.clear()
    this.#closed.resolve({ code, reason })
  }
}

/** Longer names of fields are cut: they may be the peer's own words, and go into the log. */
const MAX_FIELD_CHARACTERS = 128

/** Which field is wrong and how, never what was in it. */
function describeIssue(issue: z.core.$ZodIssue | undefined): string {
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : []
  const field = [...issue?.path ?? [], ...unknown].map(String).join(".").slice(0, MAX_FIELD_CHARACTERS)
  return `${field || "params"}: ${issue?.code ?? "invalid"}`
}

/** Every method's parameters carry the milliseconds that the caller still waits. */
function deadlineOf(params: unknown): number {
  return typeof params === "object" && params !== null && "deadlineMs" in params && typeof params.deadlineMs === "number" ? params.deadlineMs : 0
}
