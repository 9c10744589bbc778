// The options that `parley token` and `parley can` share: a tenant from a folder of manifests, and a user's
// claims and roles.
import { FilesCatalog } from '../catalog/files.js'
import { compileManifests } from '../compile/manifests.js'
import { isRecord, parseJson } from '../json.js'
import { fileProblemText } from '../resources/problem.js'
import type { Claims } from '../tenant/claims.js'
import { tenantKey, type TenantPolicy } from '../tenant/policy.js'

/**
 * The command line requests something impossible. The user sees only the message, which is one or more
 * sentences.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * Returns the policy of the tenant `key` (`<namespace>/<name>`) in the manifests of `folder`.
 * @throws UsageError when the tenant is missing or its manifest is refused; the message lists the tenants
 * that can be served and the problems of the folder. ConfigError when the folder cannot be read.
 */
export function readTenant(folder: string, key: string): TenantPolicy {
  const catalog = FilesCatalog.open(folder, { compile: compileManifests })
  const policy = catalog.get(key)
  if (policy) return policy
  const known = [...catalog.all()].map(tenantKey).toSorted().join(', ') || 'none'
  const problems = catalog.problems.map((problem) => `\n  ${fileProblemText(problem)}`).join('')
  throw new UsageError(
    `No tenant "${key}" can be served from ${folder}; the tenants that can: ${known}.${problems}`,
  )
}

/**
 * Parses the value of `--claims`; no claims when it is absent. @throws UsageError when it is not a JSON
 * object.
 */
export function parseClaimsOption(text: string | undefined): Claims {
  const claims = parseJson(text ?? '{}')
  if (isRecord(claims)) return claims
  throw new UsageError('--claims is not a JSON object: write it as \'{"team":"red"}\'.')
}

/** Parses the value of `--roles`, names separated by commas. Undefined when it is absent. */
export function parseRolesOption(text: string | undefined): string[] | undefined {
  return text?.split(',').map((role) => role.trim())
}
