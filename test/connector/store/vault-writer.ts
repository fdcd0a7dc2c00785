/**
 * A process that fills the vault in argv[2] and tells what was acknowledged, one line each:
 * `+user` for a create that resolved, `!code cause` for one that was refused. Goes on until it is killed
 * or 3 rounds in a row were refused; then it says `end` and how many rejections nobody handled.
 */
import { codeOf, describeError } from "../../../src/base/errors.ts"
import { openVault } from "../../../src/connector/store/vault.ts"

let unhandled = 0
process.on("unhandledRejection", () => { unhandled++ })

const store = await openVault({ folder: process.argv[2] ?? "", tenant: "acme" })
const PER_ROUND = 8
let refusedRounds = 0
for (let round = 0; refusedRounds < 3; round++) {
  const users = Array.from({ length: PER_ROUND }, (_, i) => `user-${round}-${i}`)
  const outcomes = await Promise.allSettled(users.map((user) => store.create({ user, version: 1 }, Buffer.alloc(93, user))))
  const lines = outcomes.map((outcome, i) => {
    if (outcome.status === "fulfilled") return `+${users[i] ?? ""}\n`
    return `!${String(codeOf(outcome.reason))} ${describeError(outcome.reason).cause ?? ""}\n`
  })
  process.stdout.write(lines.join(""))
  refusedRounds = outcomes.every(({ status }) => status === "rejected") ? refusedRounds + 1 : 0
}
// Reading goes on when writing does not.
process.stdout.write(`end ${await store.count()} ${unhandled}\n`)
await store.close()
