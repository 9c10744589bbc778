// A ChatTenant's channel rules: which channels, who may do what there, and how they behave.
import { z } from 'zod'
import { celRules } from './cel.js'
import { matchRules } from './channel-match-cel.js'
import { operations } from '../tenant/policy.js'
import { duration, Label, namedList, uniqueNames } from './common.js'

export const ChannelSelector = z
  .strictObject({
    type: z
      .enum(['Literal', 'Prefix', 'Pattern'])
      .describe(
        'Literal is one channel; Prefix is all that begin so; Pattern compares the parts between colons.',
      ),
    value: z
      .string()
      .min(1)
      .max(128)
      .describe(
        'In a Pattern, "*" is any one part, "{user}" the user’s own name and "{claims.team}" the token’s claim "team". Quote values with braces in YAML.',
      ),
  })
  .meta(matchRules)

export const Operations = z.array(z.enum(operations)).min(1).max(operations.length)

/**
 * A subject stands in three lists, so a rule counts 262,144 times: names of users, up to 256 more each, are looked at when the tenant is
 * compiled.
 */
const subjectRules = celRules([
  {
    rule: 'has(self.users) || has(self.roles) || has(self.claims) || has(self.authenticated) || has(self.anonymous)',
    message: 'Name at least one of users, roles, claims, authenticated and anonymous.',
    reason: 'FieldValueRequired',
  },
  {
    rule: '!has(self.anonymous) || !(has(self.users) || has(self.roles) || has(self.claims) || has(self.authenticated))',
    message: 'A guest has no token to compare: give "anonymous" a subject of its own.',
    fieldPath: '.anonymous',
  },
  {
    rule: '!has(self.claims) || self.claims.size() > 0',
    message: 'Name at least one claim.',
    fieldPath: '.claims',
    reason: 'FieldValueRequired',
  },
])

const Subject = z
  .strictObject({
    users: z
      .array(z.string().min(1).max(255))
      .min(1)
      .max(256)
      .optional()
      .describe('Users by name (the token’s subject).'),
    roles: z.array(z.string().min(1).max(255)).min(1).max(64).optional().describe('Any of these roles.'),
    claims: z
      .record(z.string().min(1).max(255), z.array(z.string().max(255)).min(1).max(64))
      .optional()
      .describe(
        'Claims of the token, each with the values of which one must be there. Dots descend: "org.id".',
      ),
    authenticated: z.literal(true).optional().describe('Everybody with a valid token.'),
    anonymous: z.literal(true).optional().describe('Guests without a token. They match nothing else.'),
  })
  .superRefine((subject, context) => {
    const keys = Object.keys(subject)
    const add = (message: string, path: string[] = []): void =>
      context.addIssue({ code: 'custom', path, message })
    if (keys.length === 0) add('Name at least one of users, roles, claims, authenticated and anonymous.')
    if (subject.anonymous && keys.length > 1)
      add('A guest has no token to compare: give "anonymous" a subject of its own.', ['anonymous'])
    if (subject.claims && Object.keys(subject.claims).length === 0)
      add('Name at least one claim.', ['claims'])
    if (subject.users?.some((name) => name.startsWith('guest:')))
      add('No user’s name begins with "guest:"; guests match "anonymous" only.', ['users'])
  })
  .meta(subjectRules)

const Grant = z.strictObject({
  effect: z
    .enum(['Allow', 'Deny'])
    .default('Allow')
    .describe('A Deny outweighs every Allow, of other rules too.'),
  operations: Operations.describe('What is granted or denied.'),
  subjects: z
    .array(Subject)
    .min(1)
    .max(64)
    .describe('To whom: any of these; within one, all that is named must hold.'),
})

const Rule = z.strictObject({
  name: Label.describe('Name of the rule, for messages and merging.'),
  match: ChannelSelector.describe('Channels that the rule covers.'),
  grants: z
    .array(Grant)
    .max(64)
    .default([])
    .describe(
      'Who may do what. Grants of all rules that cover a channel add up; what nothing grants is refused.',
    ),
  history: z
    .strictObject({
      size: z
        .int()
        .min(1)
        .max(100_000)
        .describe('Messages kept, at most as many as the plan’s retention allows.'),
      ttl: duration({ min: '1s', max: '720h' })
        .default('24h')
        .describe('How long a message is kept, at most as long as the plan’s retention allows.'),
      recovery: z
        .enum(['Stream', 'Cache'])
        .default('Stream')
        .describe(
          'What a client gets when it comes back: Stream all that it missed, Cache the newest message alone, where only the latest state counts.',
        ),
    })
    .optional()
    .describe(
      'Keeps messages, so that clients recover what they missed. Absent: a message reaches who is there, and is forgotten.',
    ),
  presence: z.boolean().default(false).describe('Keeps a list of who is there.'),
  joinLeave: z.boolean().default(false).describe('Tells subscribers who comes and goes.'),
  durability: z
    .enum(['Accepted', 'Replicated', 'Durable'])
    .optional()
    .describe(
      'The least that a publish is acknowledged at: in memory, on most Redis nodes, in the archive. Default: what the installation offers best without an archive.',
    ),
  sanitize: z
    .enum(['None', 'StripMarkup'])
    .default('None')
    .describe('StripMarkup removes HTML tags from text on the server.'),
})
export type Rule = z.output<typeof Rule>

export const Rules = z.array(Rule).max(64).superRefine(uniqueNames).meta(namedList)
