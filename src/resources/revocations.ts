// The schema of the revocations in a ChatTenant.
import { z } from 'zod'
import { guestPrefix, isGuest } from '../tenant/user.js'
import { celRules } from './cel.js'
import { time } from './common.js'

/** No control characters and no lone surrogates, as in the users and ids of tokens. */
const name = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}\p{Cs}]+$/u, 'Use no control characters.')

const oneMessage = 'Name exactly one of user and jti.'
const userMessage = 'issuedBefore belongs to user. For all users, set spec.tokensIssuedBefore.'
const guestMessage = 'A guest has no time of issue: omit issuedBefore to revoke the guest.'

const RevocationEntry = z
  .strictObject({
    user: name
      .optional()
      .describe(
        'A user, or a guest as "guest:<id>". Without issuedBefore, every token of the user is refused.',
      ),
    jti: name.optional().describe('The id of one token: its claim jti.'),
    issuedBefore: time()
      .optional()
      .describe(
        'Refuses only the tokens of the user whose claim iat is before this time, and those without iat.',
      ),
    expiresAt: time()
      .optional()
      .describe('The entry has no effect from this time on, and can be removed. Default: it has no end.'),
  })
  .superRefine(({ issuedBefore, jti, user }, context) => {
    const problem = (message: string) => context.addIssue({ code: 'custom', message })
    if ((user === undefined) === (jti === undefined)) problem(oneMessage)
    else if (issuedBefore !== undefined && user === undefined) problem(userMessage)
    else if (issuedBefore !== undefined && user !== undefined && isGuest(user)) problem(guestMessage)
  })
  .meta(
    celRules([
      { rule: 'has(self.user) != has(self.jti)', message: oneMessage },
      { rule: '!has(self.issuedBefore) || has(self.user)', message: userMessage },
      {
        rule: `!has(self.issuedBefore) || !has(self.user) || !self.user.startsWith('${guestPrefix}')`,
        message: guestMessage,
      },
    ]),
  )
export type RevocationEntry = z.output<typeof RevocationEntry>

export const Revocations = z.array(RevocationEntry).max(256)
