// The schema of `spec.channels` of a ChatTenant: the channels that a rule covers, the operations that it
// grants on them, and the behaviour of these channels.
import { z } from 'zod'
import { celRules } from './cel.js'
import { matchRules } from './channel-match-cel.js'
import { operations } from '../tenant/policy.js'
import { guestPrefix, isGuest } from '../tenant/user.js'
import { duration, Label, namedList, uniqueNames } from './common.js'

/** Selects channels by name, prefix or pattern. */
export const ChannelSelector = z
  .strictObject({
    type: z
      .enum(['Literal', 'Prefix', 'Pattern'])
      .describe(
        'How the value is compared. Literal: the name of one channel. Prefix: the beginning of ' +
          'channel names. Pattern: one part for each segment between colons.',
      ),
    value: z
      .string()
      .min(1)
      .max(128)
      .describe(
        'The name, prefix or pattern. In a Pattern, "*" matches any one segment, "{user}" the name ' +
          'of the user and "{claims.team}" the claim "team" of the token. In YAML, put values with ' +
          'braces or stars in quotes.',
      ),
  })
  .meta(matchRules)

export const Operations = z.array(z.enum(operations)).min(1).max(operations.length)

/**
 * The cost estimate of the API server counts a rule on a subject 262,144 times, because a subject is nested
 * in three lists. User names, up to 256 for each subject, would exceed the budget; zod checks them when a
 * manifest is read.
 */
const subjectRules = celRules([
  {
    rule:
      'has(self.users) || has(self.roles) || has(self.claims) || has(self.authenticated) || ' +
      'has(self.anonymous)',
    message: 'Set at least one of users, roles, claims, authenticated and anonymous.',
    reason: 'FieldValueRequired',
  },
  {
    rule:
      '!has(self.anonymous) || !(has(self.users) || has(self.roles) || has(self.claims) || ' +
      'has(self.authenticated))',
    message: 'A guest has no token to compare: use a separate subject for "anonymous".',
    fieldPath: '.anonymous',
  },
  {
    rule: '!has(self.claims) || self.claims.size() > 0',
    message: 'Set at least one claim.',
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
      .describe('User names. One of them must be the user of the token.'),
    roles: z
      .array(z.string().min(1).max(255))
      .min(1)
      .max(64)
      .optional()
      .describe('Roles. The token must have one of them.'),
    claims: z
      .record(z.string().min(1).max(255), z.array(z.string().max(255)).min(1).max(64))
      .optional()
      .describe(
        'Maps claims of the token to accepted values. The token must have one of the values of every ' +
          'claim. A dot selects a field of an object: "org.id".',
      ),
    authenticated: z.literal(true).optional().describe('Matches every client with a valid token.'),
    anonymous: z
      .literal(true)
      .optional()
      .describe('Matches guests, which are clients without a token. A guest matches no other field.'),
  })
  .superRefine((subject, context) => {
    const keys = Object.keys(subject)
    const add = (message: string, path: string[] = []): void =>
      context.addIssue({ code: 'custom', path, message })
    if (keys.length === 0) add('Set at least one of users, roles, claims, authenticated and anonymous.')
    if (subject.anonymous && keys.length > 1)
      add('A guest has no token to compare: use a separate subject for "anonymous".', ['anonymous'])
    if (subject.claims && Object.keys(subject.claims).length === 0) add('Set at least one claim.', ['claims'])
    if (subject.users?.some(isGuest))
      add(`No user name begins with "${guestPrefix}"; guests match only "anonymous".`, ['users'])
  })
  .meta(subjectRules)

const Grant = z.strictObject({
  effect: z
    .enum(['Allow', 'Deny'])
    .default('Allow')
    .describe(
      'Whether the grant allows or denies. A Deny overrides every Allow, including those of other rules.',
    ),
  operations: Operations.describe('The operations that are allowed or denied.'),
  subjects: z
    .array(Subject)
    .min(1)
    .max(64)
    .describe(
      'The clients to which the grant applies. One matching subject is enough; within a subject, all ' +
        'fields must match.',
    ),
})

const Rule = z.strictObject({
  name: Label.describe(
    'The name of the rule. Messages quote it, and server-side apply merges entries by it.',
  ),
  match: ChannelSelector.describe('The channels that the rule covers.'),
  grants: z
    .array(Grant)
    .max(64)
    .default([])
    .describe(
      'The permissions on the channels. The grants of all rules that cover a channel are combined, ' +
        'and an operation that no grant allows is refused.',
    ),
  history: z
    .strictObject({
      size: z
        .int()
        .min(1)
        .max(100_000)
        .describe(
          'The number of messages that each channel keeps, at most as many as the retention of the ' +
            'plan allows.',
        ),
      ttl: duration({ min: '1s', max: '720h' })
        .default('24h')
        .describe('How long a message is kept, at most as long as the retention of the plan allows.'),
      recovery: z
        .enum(['Stream', 'Cache'])
        .default('Stream')
        .describe(
          'The messages that a client receives when it reconnects. Stream: every message that it ' +
            'missed. Cache: ' +
            'only the newest message, for channels where only the latest state counts.',
        ),
    })
    .optional()
    .describe(
      'Keeps messages, so that clients can recover those that they missed. Default: a message is ' +
        'delivered to the current subscribers and is not stored.',
    ),
  presence: z
    .boolean()
    .default(false)
    .describe('Keeps a list of the clients that are subscribed to the channel.'),
  joinLeave: z
    .boolean()
    .default(false)
    .describe('Sends a message to the subscribers when a client subscribes or unsubscribes.'),
  durability: z
    .enum(['Accepted', 'Replicated', 'Durable'])
    .optional()
    .describe(
      'The lowest durability at which a publish is acknowledged. Accepted: in memory. Replicated: on ' +
        'a majority of the Redis nodes. Durable: in an archive; this version has no archive and does ' +
        'not accept a tenant that asks for it. Default: the highest that the installation offers ' +
        'without an archive.',
    ),
  sanitize: z
    .enum(['None', 'StripMarkup'])
    .default('None')
    .describe('How the server changes the text of messages. StripMarkup removes HTML tags.'),
})
/** One entry of `spec.channels`, with defaults applied. */
export type Rule = z.output<typeof Rule>

export const Rules = z.array(Rule).max(64).superRefine(uniqueNames).meta(namedList)
