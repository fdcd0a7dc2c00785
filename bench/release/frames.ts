import { randomBytes } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { requestFrame, resultFrame } from "../../src/wire/rpc/frame.ts"
import { REASON, userName, WORKFLOW } from "./scene.ts"

/** Ids and sequences of a run have mostly this many digits. */
const TYPICAL_ID = 123_456
const TYPICAL_DEADLINE_MS = 9_999
const TYPICAL_TIME_MS = 1_800_000_000_000

/** A request and an answer of `ekey.release` as they travel, by the schemas and the codec of the product. */
export function sampleFrames(): { readonly request: string; readonly reply: string } {
  const random = (bytes: number): string => toBase64url(randomBytes(bytes))
  const { params, result } = METHODS["ekey.release"]
  const request = params.parse({
    operation: random(16), session: random(16), sequence: TYPICAL_ID, workflow: WORKFLOW, reason: REASON, user: userName(1),
    version: null, proof: random(32), deadlineMs: TYPICAL_DEADLINE_MS,
  })
  const reply = result.parse({ version: 1, expiresAtMs: TYPICAL_TIME_MS, sealed: random(48) })
  return { request: requestFrame(TYPICAL_ID, "ekey.release", request), reply: resultFrame(TYPICAL_ID, reply) }
}
