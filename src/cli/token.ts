// `parley token`: prints a token that a tenant accepts, for trying things out without a backend.
import { Command } from 'commander'
import { canMint, CannotMintError, mintToken } from '../auth/mint.js'
import { TokenVerifier } from '../auth/token.js'
import { CommandError, ConfigError } from '../errors.js'
import { parseDuration } from '../resources/duration.js'
import { tenantKey, type Issuer, type TenantPolicy } from '../tenant/policy.js'
import { systemClock } from '../time.js'
import { badInputExitCode, withDocumentedExitCodes } from './exit-codes.js'
import { parseClaimsOption, parseRolesOption, readTenant, UsageError } from './tenant-options.js'

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

/**
 * Prints only the token on standard output, and notes on standard error. For bad input the exit code is 2.
 */
export function tokenCommand(): Command {
  const command = new Command('token')
    .description(
      'Print a token for a tenant that has a shared key. It is for trying things out, not for production.',
    )
    .option('--tenants <dir>', 'folder with the manifests of the tenants', 'manifests/samples')
    .option('--tenant <namespace/name>', 'tenant that the token is for')
    .option('--user <id>', 'user that the token names')
    .option('--claims <json>', 'additional claims, such as \'{"team":"red"}\'')
    .option('--roles <list>', 'roles, separated by commas')
    .option('--ttl <duration>', 'lifetime of the token, such as 90s, 10m or 1h30m', '1h')
    .option('--issuer <name>', 'entry of the tenant’s auth list; by default the first with a shared key')
    .option('--channel <name>', 'print a subscription token for this channel')
  return withDocumentedExitCodes(command).action(async (options: TokenOptions) => {
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
  const claims = parseClaimsOption(options.claims)
  const policy = readTenant(options.tenants, required(options.tenant, '--tenant'))
  const issuer = issuerOf(policy, options.issuer)
  const roles = parseRolesOption(options.roles)
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
    `${kind} of ${user} at ${tenantKey(policy)}, by issuer "${issuer.name}", valid for ${options.ttl}.`,
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
    throw new UsageError(`--ttl "${ttl}" is not a duration of at least 1s: write 90s, 10m or 1h30m`)
  return Math.floor(ms / 1000)
}

function issuerOf(policy: TenantPolicy, name: string | undefined): Issuer {
  const { issuers } = policy
  const names = issuers.map((issuer) => `${issuer.name} (${issuer.key.type})`).join(', ') || 'none'
  const issuer =
    name === undefined ? issuers.find(canMint) : issuers.find((candidate) => candidate.name === name)
  if (issuer) return issuer
  const missing = name === undefined ? 'no issuer with a shared key' : `no issuer "${name}"`
  throw new UsageError(`Tenant ${tenantKey(policy)} has ${missing}; its issuers: ${names}`)
}

/**
 * Returns why the tenant would refuse the token, or undefined when it accepts the token. The result is only a
 * hint for the user: the claims may be invalid on purpose.
 */
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
