import {
  CLOSE_CODES, MAX_BUFFERED_BYTES, MAX_CLOCK_SKEW_MS, MAX_FRAME_BYTES, MAX_IN_FLIGHT, MAX_RELEASE_USERS, MAX_STRIKES, PING_EVERY_MS,
  PONG_WITHIN_MS, RELEASE_MS, SESSION_MS, SILENT_AFTER_MS,
} from "../../src/wire/limits.ts"
import { CONNECT_WITHIN_MS } from "../../src/wire/link/tls.ts"
import { REVOCATION_LIFE_MS } from "../../src/wire/identity/revocation.ts"
import { MAX_CERTIFICATE_BYTES, MAX_CSR_BYTES } from "../../src/crypto/x509.ts"
import { MAX_REVOKED_SERIALS } from "../../src/wire/messages/certificate.ts"
import { code, table } from "./markdown.ts"

/** The protocol's numbers, from the constants that the code uses. */
export function limitTable(): string {
  return table(["limit", "value", "what happens beyond it"], [
    ["size of a message", bytes(MAX_FRAME_BYTES), "the connection ends with close code 1009"],
    ["requests that one end works on at once, for one connection", String(MAX_IN_FLIGHT), "the request is refused with `ERR_OVERLOADED`"],
    ["frames outside the protocol, for one connection", String(MAX_STRIKES), `the last of them ends the connection with close code ${String(CLOSE_CODES.protocol)}`],
    ["unsent bytes to one peer", bytes(MAX_BUFFERED_BYTES), `the connection ends with close code ${String(CLOSE_CODES.unresponsive)}`],
    ["users in one `ekey.releaseMany`", String(MAX_RELEASE_USERS), "`ERR_PARAMS`"],
    ["size of a certificate, of a certificate request", `${bytes(MAX_CERTIFICATE_BYTES)}, ${bytes(MAX_CSR_BYTES)}`, "`ERR_PARAMS` or `ERR_CERT_MALFORMED`"],
    ["serials in a revocation list", String(MAX_REVOKED_SERIALS), "`ERR_PARAMS`"],
    ["difference of two clocks, in signed statements", duration(MAX_CLOCK_SKEW_MS), "the statement is refused"],
    ["life of a revocation list", `at most ${duration(REVOCATION_LIFE_MS)}`, "the list is refused, or stale"],
    ["life of a session", `at most ${duration(SESSION_MS)}`, "`ERR_SESSION`: open another"],
    ["life of a sealed answer", duration(RELEASE_MS), "the worker refuses it (section 10)"],
    ["DNS, TCP and TLS together, when dialling", duration(CONNECT_WITHIN_MS), "the dial failed"],
    ["pings of the dialling end", `every ${duration(PING_EVERY_MS)}, ±10 %`, "see section 3.6"],
    ["answer to a ping", `within ${duration(PONG_WITHIN_MS)}`, "the dialling end gives the connection up"],
    ["silence of the dialling end", duration(SILENT_AFTER_MS), "the gateway gives the connection up"],
  ])
}

/** Why a connection ended. */
export function closeCodeTable(): string {
  const meanings: Readonly<Record<keyof typeof CLOSE_CODES, string>> = {
    normal: "the conversation is over, for example after an enrolment",
    goingAway: "the end that closes is shutting down, or an enrolment took longer than 30 s",
    protocol: "the other end went on sending frames outside the protocol",
    identity: "the other end's certificate ended, was revoked, or can't be judged any more; the reason is the error code",
    replaced: "another connection of the same identity took this one's place",
    unresponsive: "the other end reads slower than it asks",
  }
  const standard = [
    ["1003", "a binary message came (RFC 6455, section 7.4.1)"],
    ["1007", "a text message was not UTF-8"],
    ["1009", "a message was too large"],
  ]
  const ours = Object.entries(CLOSE_CODES).map(([name, value]) => [String(value), isName(name, meanings) ? meanings[name] : ""])
  return table(["code", "meaning"], [...ours, ...standard].sort(([a], [b]) => Number(a) - Number(b)).map(([value = "", meaning = ""]) => [code(value), meaning]))
}

function isName<K extends string>(name: string, meanings: Readonly<Record<K, string>>): name is K {
  return Object.hasOwn(meanings, name)
}

function bytes(count: number): string {
  const [size, unit] = count % (1024 * 1024) === 0 ? [count / 1024 / 1024, "MiB"] : [count / 1024, "KiB"]
  return `${String(size)} ${unit}`
}

function duration(ms: number): string {
  const [count, unit] = ms % 3_600_000 === 0 && ms > 3_600_000 ? [ms / 3_600_000, "h"] : ms % 60_000 === 0 && ms > 60_000 ? [ms / 60_000, "min"] : [ms / 1000, "s"]
  return `${String(count)} ${unit}`
}
