// `parley can`: may somebody do something on a channel, and by which rule? Asks the tenant's manifests, not a running gateway.
import { Argument, Command } from 'commander'
import { rolesOf } from '../auth/token-claims.js'
import { CommandError, ConfigError } from '../errors.js'
import { isRecord, parseJson } from '../json.js'
import { ChannelRules, type AclSubject, type AccessDecision } from '../tenant/acl.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import { parseChannelName } from '../tenant/channel.js'
import type { Claims } from '../tenant/claims.js'
import { tenantKey, type Operation, type TenantPolicy } from '../tenant/policy.js'
import { fileProblemText } from '../resources/problem.js'
import { badInputExitCode, endsByTheList } from './exit-codes.js'

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

/** What was typed cannot be asked; the message is all that the reader gets. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Prints one line that begins with `yes:` or `no:`. Exit code 0 for yes, 1 for no, 2 and a sentence for bad input. */
export function canCommand(): Command {
  const command = new Command('can')
    .description('Say whether somebody may do something on a channel, and which rule says so.')
    .option('--tenants <dir>', 'folder with the tenants’ manifests', 'manifests/samples')
    .requiredOption('--tenant <namespace/name>', 'tenant whose rules are asked')
    .option('--user <id>', 'user who asks; with --anonymous, the guest’s client id')
    .option('--claims <json>', 'claims of the user’s token, such as \'{"team":"red"}\'')
    .option('--roles <list>', 'roles with commas between; by default those in the claims')
    .option('--anonymous', 'ask for a guest without a token')
    .addArgument(new Argument('<operation>', 'what is to be done').choices(Object.keys(operationsByWord)))
    .argument('<channel>', 'where')
    .addHelpText(
      'after',
      '\nExample: parley can --tenant demo/acme --user u1 --claims \'{"team":"red"}\' publish team:red',
    )
  return endsByTheList(command).action((word: Word, channel: string, options: CanOptions) => {
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
  const policy = tenantOf(options)
  const name = parseChannelName(channel, { maxLength: policy.limits.channels.nameMaxLength })
  return new ChannelRules(policy.channels).decide(subjectOf(options, policy), operation, name)
}

function sentenceOf(decision: AccessDecision, asked: { word: Word; channel: string }): string {
  if (decision.allowed) return `yes: rule "${decision.rule}" allows ${asked.word} on "${asked.channel}"`
  return `no: ${decision.message}`
}

function tenantOf({ tenants, tenant }: CanOptions): TenantPolicy {
  const catalog = FilesCatalog.open(tenants, { compile: compileManifests })
  const policy = catalog.get(tenant)
  if (policy) return policy
  const known = [...catalog.all()].map(tenantKey).toSorted().join(', ') || 'none'
  const problems = catalog.problems.map((problem) => `\n  ${fileProblemText(problem)}`).join('')
  throw new UsageError(
    `No tenant "${tenant}" can be served from ${tenants}; those that can: ${known}.${problems}`,
  )
}

function subjectOf(options: CanOptions, policy: TenantPolicy): AclSubject {
  if (options.anonymous) {
    if (options.claims !== undefined || options.roles !== undefined)
      throw new UsageError('A guest has no claims and no roles.')
    return { user: `guest:${options.user ?? 'somebody'}`, anonymous: true, roles: [], claims: {} }
  }
  if (!options.user) throw new UsageError('Say who asks: --user <id>, or --anonymous for a guest.')
  const claims = claimsOf(options.claims ?? '{}')
  const roles = options.roles?.split(',').map((role) => role.trim()) ?? rolesIn(claims, policy)
  return { user: options.user, anonymous: false, roles, claims }
}

/** As a gateway finds them; where token sources differ, as the first one names them. */
function rolesIn(claims: Claims, policy: TenantPolicy): readonly string[] {
  const [issuer] = policy.issuers
  return issuer ? rolesOf(claims, issuer.claims.roles) : []
}

function claimsOf(text: string): Claims {
  const claims = parseJson(text)
  if (isRecord(claims)) return claims
  throw new UsageError('--claims is not a JSON object: write it as \'{"team":"red"}\'.')
}
