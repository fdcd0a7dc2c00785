import { MemoryStore, newMemoryDisk } from "../../support/memory-store.ts"
import { describeEkeyStore } from "./contract.ts"

describeEkeyStore("memory", async () => {
  const disk = newMemoryDisk()
  return {
    open: async (tenant) => new MemoryStore(tenant, disk),
    remove: async () => undefined,
  }
})
