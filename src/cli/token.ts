// `parley token`: prints a token that a tenant accepts, so that nobody needs a backend to try something out.
import { Command } from 'commander'
import { canMint, CannotMintError, mintToken } from '../auth/mint.js'
import { TokenVerifier } from '../auth/token.js'
import { CommandError, ConfigError } from '../errors.js'
import { isRecord, parseJson } from '../json.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import type { Claims } from '../tenant/claims.js'
import { parseDuration } from '../resources/duration.js'
import { tenantKey, type Issuer, type TenantPolicy } from '../tenant/policy.js'
import { fileProblemText } from '../resources/problem.js'
import { systemClock } from '../time.js'
import { badInputExitCode, endsByTheList } from './exit-codes.js'

interface TokenOptions {
  readonly tenants: string
  readonly tenant?: string
  readonly user?: string
  readonly claims?: string
  readonly roles?: string
  readonly ttl: string
  readonly issuer?: string
  readonly channel?: string
}

/** What was typed cannot be done; the message is all that the reader gets. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The token alone goes to stdout, all else to stderr. Exit code 2 and one sentence for bad input. */
export function tokenCommand(): Command {
  const command = new Command('token')
    .description('Print a token for a tenant that has a shared key: to try things out, never for production.')
    .option('--tenants <dir>', 'folder with the tenants’ manifests', 'manifests/samples')
    .option('--tenant <namespace/name>', 'tenant that the token is for')
    .option('--user <id>', 'user that the token names')
    .option('--claims <json>', 'further claims, such as \'{"team":"red"}\'')
    .option('--roles <list>', 'roles, with commas between')
    .option('--ttl <duration>', 'how long it is good, such as 90s, 10m or 1h30m', '1h')
    .option('--issuer <name>', 'entry of the tenant’s auth list; by default the first that has a shared key')
    .option('--channel <name>', 'make a subscription token for this channel')
  return endsByTheList(command).action(async (options: TokenOptions) => {
    try {
      await printToken(options)
    } catch (error) {
      if (!isBadInput(error)) throw error
      command.error(`error: ${error.message}`, { exitCode: badInputExitCode })
    }
  })
}

function isBadInput(error: unknown): error is Error {
  return error instanceof UsageError || error instanceof CannotMintError || error instanceof ConfigError
}

async function printToken(options: TokenOptions): Promise<void> {
  const user = required(options.user, '--user')
  const expiresInS = secondsOf(options.ttl)
  const claims = claimsOf(options.claims)
  const policy = tenantOf(options)
  const issuer = issuerOf(policy, options.issuer)
  const roles = options.roles?.split(',').map((role) => role.trim())
  const token = await mintToken(issuer, {
    user,
    claims: {
      ...(roles && { [issuer.claims.roles]: roles }),
      ...(options.channel !== undefined && { channel: options.channel }),
      ...claims,
    },
    expiresInS,
    nowMs: systemClock.epochMs(),
  })
  process.stdout.write(`${token}\n`)
  const kind = options.channel === undefined ? 'Token' : `Subscription token for ${options.channel}`
  console.error(
    `${kind} of ${user} at ${tenantKey(policy)}, by issuer "${issuer.name}", good for ${options.ttl}.`,
  )
  const refusal = await refusalOf(token, { issuer, user, channel: options.channel })
  if (refusal) console.error(`The tenant will refuse it. ${refusal.message}.`)
}

function required(value: string | undefined, name: string): string {
  if (value === undefined || value === '') throw new UsageError(`${name} is missing: see parley token --help`)
  return value
}

function secondsOf(ttl: string): number {
  const ms = parseDuration(ttl)
  if (ms === undefined || ms < 1000)
    throw new UsageError(`--ttl "${ttl}" is no time of at least 1s: write 90s, 10m or 1h30m`)
  return Math.floor(ms / 1000)
}

function claimsOf(text: string | undefined): Claims {
  const claims = parseJson(text ?? '{}')
  if (!isRecord(claims)) throw new UsageError(`--claims is not a JSON object: write it as '{"team":"red"}'`)
  return claims
}

function tenantOf(options: TokenOptions): TenantPolicy {
  const key = required(options.tenant, '--tenant')
  const catalog = FilesCatalog.open(options.tenants, { compile: compileManifests })
  const policy = catalog.get(key)
  if (policy) return policy
  const names = [...catalog.all()].map(tenantKey).toSorted()
  const known = names.length > 0 ? `there are ${names.join(', ')}` : 'there is none at all'
  const [problem] = catalog.problems
  throw new UsageError(
    `No tenant "${key}" in ${options.tenants}: ${known}${problem ? `; ${fileProblemText(problem)}` : ''}`,
  )
}

function issuerOf(policy: TenantPolicy, name: string | undefined): Issuer {
  const { issuers } = policy
  const names = issuers.map((issuer) => `${issuer.name} (${issuer.key.type})`).join(', ') || 'none'
  const issuer =
    name === undefined ? issuers.find(canMint) : issuers.find((candidate) => candidate.name === name)
  if (issuer) return issuer
  const wanted = name === undefined ? 'no issuer with a shared key' : `no issuer "${name}"`
  throw new UsageError(`Tenant ${tenantKey(policy)} has ${wanted}; its issuers: ${names}`)
}

/** A token may be bad on purpose, so this is a hint only. */
async function refusalOf(
  token: string,
  { issuer, user, channel }: { issuer: Issuer; user: string; channel: string | undefined },
): Promise<CommandError | undefined> {
  const verifier = new TokenVerifier([issuer], { clock: systemClock })
  try {
    if (channel === undefined) await verifier.verify(token)
    else await verifier.verifySubscription(token, { user, channel, client: '' })
    return undefined
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  } finally {
    verifier.close()
  }
}
