// `parley can`: shows whether a user may perform an operation on a channel, and which rule decides. It
// evaluates the tenant's manifests and does not ask a running gateway.
import { Argument, Command } from 'commander'
import { rolesOf } from '../auth/token-claims.js'
import { CommandError, ConfigError } from '../errors.js'
import { ChannelRules, type AclSubject, type AccessDecision } from '../tenant/acl.js'
import { parseChannelName } from '../tenant/channel.js'
import type { Claims } from '../tenant/claims.js'
import type { Operation, TenantPolicy } from '../tenant/policy.js'
import { badInputExitCode, withDocumentedExitCodes } from './exit-codes.js'
import { parseClaimsOption, parseRolesOption, readTenant, UsageError } from './tenant-options.js'

const operationsByWord = {
  subscribe: 'Subscribe',
  publish: 'Publish',
  presence: 'Presence',
  history: 'History',
} as const satisfies Record<string, Operation>
type Word = keyof typeof operationsByWord

interface CanOptions {
  readonly tenants: string
  readonly tenant: string
  readonly user?: string
  readonly claims?: string
  readonly roles?: string
  readonly anonymous?: true
}

interface Question {
  readonly operation: Operation
  readonly channel: string
  readonly options: CanOptions
}

/**
 * Prints one line that begins with `yes:` or `no:`. The exit code is 0 for yes and 1 for no; for bad input it
 * is 2, with a sentence on standard error.
 */
export function canCommand(): Command {
  const command = new Command('can')
    .description('Tell whether a user may do something on a channel, and which rule decides.')
    .option('--tenants <dir>', 'folder with the manifests of the tenants', 'manifests/samples')
    .requiredOption('--tenant <namespace/name>', 'tenant whose rules are evaluated')
    .option('--user <id>', 'user id; with --anonymous, the id of the guest')
    .option('--claims <json>', 'claims of the user’s token, such as \'{"team":"red"}\'')
    .option('--roles <list>', 'roles, separated by commas; by default those in the claims')
    .option('--anonymous', 'evaluate for a guest, who has no token')
    .addArgument(new Argument('<operation>', 'operation to evaluate').choices(Object.keys(operationsByWord)))
    .argument('<channel>', 'name of the channel')
    .addHelpText(
      'after',
      '\nExample: parley can --tenant demo/acme --user u1 --claims \'{"team":"red"}\' publish team:red',
    )
  return withDocumentedExitCodes(command).action((word: Word, channel: string, options: CanOptions) => {
    const decision = answer(command, { operation: operationsByWord[word], channel, options })
    process.stdout.write(`${sentenceOf(decision, { word, channel })}\n`)
    process.exitCode = decision.allowed ? 0 : 1
  })
}

function answer(command: Command, question: Question): AccessDecision {
  try {
    return decide(question)
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigError || error instanceof CommandError) {
      command.error(`error: ${error.message}`, { exitCode: badInputExitCode })
    }
    throw error
  }
}

function decide({ operation, channel, options }: Question): AccessDecision {
  const policy = readTenant(options.tenants, options.tenant)
  const name = parseChannelName(channel, { maxLength: policy.limits.channels.nameMaxLength })
  return new ChannelRules(policy.channels).decide(subjectOf(options, policy), operation, name)
}

function sentenceOf(decision: AccessDecision, asked: { word: Word; channel: string }): string {
  if (decision.allowed) return `yes: rule "${decision.rule}" allows ${asked.word} on "${asked.channel}"`
  return `no: ${decision.message}`
}

function subjectOf(options: CanOptions, policy: TenantPolicy): AclSubject {
  if (options.anonymous) {
    if (options.claims !== undefined || options.roles !== undefined)
      throw new UsageError('A guest has no claims and no roles.')
    return { user: `guest:${options.user ?? 'anonymous'}`, anonymous: true, roles: [], claims: {} }
  }
  if (!options.user) throw new UsageError('No user is given: use --user <id>, or --anonymous for a guest.')
  const claims = parseClaimsOption(options.claims)
  const roles = parseRolesOption(options.roles) ?? rolesIn(claims, policy)
  return { user: options.user, anonymous: false, roles, claims }
}

/**
 * Returns the roles that a gateway reads from these claims, by the claim name of the tenant's first issuer.
 */
function rolesIn(claims: Claims, policy: TenantPolicy): readonly string[] {
  const [issuer] = policy.issuers
  return issuer ? rolesOf(claims, issuer.claims.roles) : []
}
