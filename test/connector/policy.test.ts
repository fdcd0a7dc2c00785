import assert from "node:assert/strict"
import { createPolicy, PolicyConfig } from "../../src/connector/policy.ts"
import { WORKFLOWS } from "../../src/wire/messages/workflows.ts"

function decide(workflows: string[], workflow: string): string {
  return createPolicy(PolicyConfig.parse({ workflows })).evaluate({ worker: "w-1", user: "user-1", workflow }).decision
}

describe("local policy", () => {
  it("denies everything with an empty list", () => {
    for (const workflow of WORKFLOWS) assert.equal(decide([], workflow), "deny")
  })

  it("allows a workflow that is named, and no other", () => {
    for (const workflow of WORKFLOWS) {
      assert.equal(decide(["backup.scheduled"], workflow), workflow === "backup.scheduled" ? "allow" : "deny")
    }
  })

  it("allows all workflows below a prefix, and no other", () => {
    for (const workflow of WORKFLOWS) {
      assert.equal(decide(["backup.*"], workflow), workflow.startsWith("backup.") ? "allow" : "deny")
      assert.equal(decide(["restore.admin.*"], workflow), workflow.startsWith("restore.admin.") ? "allow" : "deny")
    }
  })

  for (const workflow of ["backup", "backup.", "backups.manual", "Backup.manual", "x.backup.manual", " backup.manual", "", "*", "__proto__"]) {
    it(`does not take ${JSON.stringify(workflow)} for one below backup.*`, () => {
      assert.equal(decide(["backup.*"], workflow), "deny")
    })
  }

  it("reads dots as dots", () => {
    assert.equal(decide(["backup.manual"], "backupXmanual"), "deny")
    assert.equal(decide(["backup.manual"], "backup.manual.more"), "deny")
  })

  it("names the rule that decided", () => {
    const policy = createPolicy({ workflows: ["backup.manual", "backup.*"] })
    const ask = (workflow: string): unknown => policy.evaluate({ worker: "w-1", user: "user-1", workflow })
    assert.deepEqual(ask("backup.manual"), { decision: "allow", rule: "policy.workflows: backup.manual" })
    assert.deepEqual(ask("backup.bulk"), { decision: "allow", rule: "policy.workflows: backup.*" })
    assert.deepEqual(ask("download.mds"), { decision: "deny", rule: "policy.workflows: no entry matches" })
  })
})

describe("policy config", () => {
  it("takes every workflow and every group of them", () => {
    const groups = WORKFLOWS.map((workflow) => `${workflow.slice(0, workflow.indexOf("."))}.*`)
    assert.equal(PolicyConfig.safeParse({ workflows: [...WORKFLOWS, ...groups] }).success, true)
  })

  for (const pattern of ["*", "*.*", "backup*", "backup.**", "backup.*.x", ".*", "backup..manual", ".backup", "backup.", "Backup.*", "backup .*", "", "backups.*", "backup.sheduled", "b".repeat(65)]) {
    it(`refuses ${JSON.stringify(pattern)}`, () => {
      assert.equal(PolicyConfig.safeParse({ workflows: [pattern] }).success, false)
    })
  }

  it("refuses unknown settings and a missing list", () => {
    assert.equal(PolicyConfig.safeParse({ workflows: [], worflows: [] }).success, false)
    assert.equal(PolicyConfig.safeParse({}).success, false)
  })
})
