import { z } from "zod"

/** The products that the two product documents name, and the endpoint workloads that they leave out. */
export const Product = z.enum(["microsoft-365", "google-workspace", "entra-id", "endpoint"]).describe("the product whose data is handled")
export type Product = z.infer<typeof Product>

/**
 * Everything that needs an ekey, as the product documents list it. The prefix before the first dot
 * is the group that policies may name as `group.*`.
 */
export const WORKFLOWS = [
  // Discovery of org apps, by hand or scheduled.
  "discovery.sharepoint", "discovery.teams", "discovery.groups", "discovery.public-folder", "discovery.team-drive",
  // Discovery of user apps: mapping configuration and sync.
  "discovery.azure-ad-mapping", "discovery.gsuite-mapping", "discovery.azure-ad-sync", "discovery.google-user-sync",
  // Configuration of discovered workloads.
  "configuration.teams", "configuration.groups", "configuration.sharepoint", "configuration.team-drive", "configuration.public-folder",
  "backup.scheduled", "backup.manual", "backup.bulk",
  "download.restore", "download.mds", "download.pst-mbox", "download.pst-url", "download.user-portal", "download.user-client",
  // WebDAV download of users on legal hold: the one workflow that a revoked customer key does not stop.
  "download.legal-hold",
  "restore.admin.in-place", "restore.admin.copy", "restore.mds.in-place", "restore.mds.copy",
  "restore.user-portal.in-place", "restore.user-portal.copy", "restore.user-client.in-place", "restore.user-client.copy",
] as const

export const Workflow = z.enum(WORKFLOWS).describe("what an ekey is needed for")
export type Workflow = z.infer<typeof Workflow>
