import assert from "node:assert/strict"
import { formatSpiffeId, isSameIdentity, parseSpiffeId, TrustDomain } from "../../../src/wire/identity/spiffe.ts"
import type { Identity } from "../../../src/wire/identity/spiffe.ts"

const CONNECTOR: Identity = { trustDomain: "backup.example", role: "connector", tenant: "acme", name: "hq-1" }

describe("SPIFFE IDs", () => {
  const rows: readonly [string, Identity][] = [
    ["spiffe://backup.example/tenant/acme/connector/hq-1", CONNECTOR],
    ["spiffe://backup.example/tenant/acme/worker/w1", { ...CONNECTOR, role: "worker", name: "w1" }],
    ["spiffe://backup.example/gateway/gw-1", { trustDomain: "backup.example", role: "gateway", tenant: null, name: "gw-1" }],
    ["spiffe://x/tenant/tenant/worker/worker", { trustDomain: "x", role: "worker", tenant: "tenant", name: "worker" }],
  ]
  for (const [text, identity] of rows) {
    it(`${text} is read and written`, () => {
      assert.deepEqual(parseSpiffeId(text), identity)
      assert.equal(formatSpiffeId(identity), text)
    })
  }

  const refused = [
    "", "spiffe://", "spiffe://backup.example", "spiffe://backup.example/",
    "SPIFFE://backup.example/gateway/gw", "https://backup.example/gateway/gw", "spiffe:/backup.example/gateway/gw",
    "spiffe://Backup.example/gateway/gw", "spiffe:///gateway/gw", "spiffe://.example/gateway/gw", "spiffe://example./gateway/gw",
    "spiffe://a..b/gateway/gw", "spiffe://-a/gateway/gw", "spiffe://a-/gateway/gw", "spiffe://a:1/gateway/gw", "spiffe://u@a/gateway/gw",
    `spiffe://${"a.".repeat(127)}ab/gateway/gw`, `spiffe://${"a".repeat(64)}/gateway/gw`,
    "spiffe://a/gateway/gw/", "spiffe://a/gateway/gw?x", "spiffe://a/gateway/gw#x", "spiffe://a/gateway//gw", "spiffe://a/gateway/../gw",
    "spiffe://a/gateway/g%77", "spiffe://a/gateway/GW", "spiffe://a/gateway/gw\n", "\nspiffe://a/gateway/gw", " spiffe://a/gateway/gw",
    "spiffe://a/gateway/-gw", "spiffe://a/gateway/gw-", "spiffe://a/gateway/g.w", "spiffe://a/gateway/g_w", "spiffe://a/gateway/\u00e9",
    `spiffe://a/gateway/${"g".repeat(64)}`, "spiffe://a/gateway", "spiffe://a/gateway/",
    "spiffe://a/tenant/acme/gateway/gw", "spiffe://a/tenant/acme/admin/x", "spiffe://a/tenant/acme/connector", "spiffe://a/tenant/acme/connector/",
    "spiffe://a/tenant//connector/hq", "spiffe://a/tenant/acme/connector/hq/", "spiffe://a/tenant/acme/connector/hq/worker/w",
    "spiffe://a/tenant/acme/Connector/hq", "spiffe://a/tenant/acme/connectors/hq", "spiffe://a/connector/hq",
    "spiffe://a/tenant/acme/connector/hq, URI:spiffe://a/tenant/acme/connector/hq",
  ]
  it("of any other spelling are refused", () => {
    for (const text of refused) assert.throws(() => parseSpiffeId(text), { name: "EkeyError", code: "ERR_CERT_MALFORMED" }, text)
  })

  it("are refused when cut at any length, unless what is left is a shorter name", () => {
    const text = "spiffe://backup.example/tenant/acme/connector/hq1"
    for (let length = 0; length < text.length - 2; length++) assert.throws(() => parseSpiffeId(text.slice(0, length)), { code: "ERR_CERT_MALFORMED" })
  })

  it("are not made from parts that would read back as something else", () => {
    const rows: Identity[] = [
      { ...CONNECTOR, name: "../worker/w1" }, { ...CONNECTOR, name: "" }, { ...CONNECTOR, tenant: null }, { ...CONNECTOR, tenant: "a/b" },
      { ...CONNECTOR, trustDomain: "a/b" }, { ...CONNECTOR, role: "gateway" },
    ]
    for (const identity of rows) assert.throws(() => formatSpiffeId(identity), { code: "ERR_PARAMS" })
  })

  it("are the same only in every part", () => {
    assert.equal(isSameIdentity(CONNECTOR, { ...CONNECTOR }), true)
    const others: Identity[] = [
      { ...CONNECTOR, trustDomain: "other.example" }, { ...CONNECTOR, role: "worker" }, { ...CONNECTOR, tenant: "other" }, { ...CONNECTOR, name: "hq-2" },
    ]
    for (const other of others) assert.equal(isSameIdentity(CONNECTOR, other), false)
  })

  it("have trust domains of at most 255 characters", () => {
    const domain = `${`${"a".repeat(62)}.`.repeat(4)}abc`
    assert.equal(domain.length, 255)
    assert.equal(TrustDomain.safeParse(domain).success, true)
    assert.equal(TrustDomain.safeParse(`${domain}d`).success, false)
  })
})
