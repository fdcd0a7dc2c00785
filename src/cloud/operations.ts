import { randomBytes } from "node:crypto"
import { toBase64url } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import type { OperationBeginParams, OperationEndParams } from "../wire/messages/operation.ts"
import type { Product, Workflow } from "../wire/messages/workflows.ts"
import type { Operations as StoredOperations } from "./storage/operations.ts"

/** An operation that ekeys may be released in. */
export interface OpenOperation {
  readonly tenant: string
  readonly worker: string
  readonly product: Product
  readonly workflow: Workflow
  /** How many ekeys were released inside it. */
  releases: number
}

/** Bounds what one worker can have the gateway remember. */
const MAX_OPEN_PER_WORKER = 1_000

/** Open operations: stored at begin and end, looked up in memory for each release. */
export class OpenOperations {
  readonly #stored: StoredOperations
  readonly #open = new Map<string, OpenOperation>()

  constructor(stored: StoredOperations) {
    this.#stored = stored
  }

  /** Brings back what a worker had open when this process ended. */
  async restore(tenant: string, worker: string): Promise<void> {
    for (const operation of await this.#stored.openOf(tenant, worker)) {
      if (this.#open.has(operation.id)) continue
      this.#open.set(operation.id, { tenant, worker, product: operation.product, workflow: operation.workflow, releases: operation.releases })
    }
  }

  /** @throws EkeyError ERR_OVERLOADED while the worker has too many open. */
  async begin(tenant: string, worker: string, params: Omit<OperationBeginParams, "deadlineMs">): Promise<string> {
    if (this.#openOf(tenant, worker) >= MAX_OPEN_PER_WORKER) throw new EkeyError("ERR_OVERLOADED", "too many operations are open: end some")
    const { product, workflow, run } = params
    const id = toBase64url(randomBytes(16))
    await this.#stored.begin({ tenant, id, worker, product, workflow, run })
    this.#open.set(id, { tenant, worker, product, workflow, releases: 0 })
    return id
  }

  /**
   * The operation in which this worker asks for an ekey.
   * @throws EkeyError ERR_OPERATION alike when it is unknown, ended, another's, or of another workflow.
   */
  get(tenant: string, worker: string, id: string, workflow: Workflow): OpenOperation {
    const operation = this.#open.get(id)
    if (operation?.tenant !== tenant || operation.worker !== worker || operation.workflow !== workflow) {
      throw new EkeyError("ERR_OPERATION", "no such operation")
    }
    return operation
  }

  #openOf(tenant: string, worker: string): number {
    let open = 0
    for (const operation of this.#open.values()) if (operation.tenant === tenant && operation.worker === worker) open += 1
    return open
  }

  /** @throws EkeyError ERR_OPERATION when it is unknown, another's, or ended otherwise. */
  async end(tenant: string, worker: string, params: Omit<OperationEndParams, "deadlineMs">): Promise<void> {
    const { operation: id, outcome } = params
    const operation = this.#open.get(id)
    // One that has ended keeps its count, so that the same end again is no other end.
    const releases = operation?.tenant === tenant && operation.worker === worker ? operation.releases : (await this.#stored.find(tenant, id))?.releases ?? 0
    await this.#stored.end({ tenant, id, worker, reason: outcome.state === "failed" ? outcome.reason : null, releases })
    this.#open.delete(id)
  }
}
