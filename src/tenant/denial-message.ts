// The messages of refused operations. The refused client can read a message, so it names the roles and claims
// that would help, but never the users or the claim values that a rule lists.
import type { ChannelRule, Grant, Operation, Subject } from './policy.js'

/** Returns the message for a channel that no rule covers. */
export function noRuleMessage(channel: string): string {
  return `No channel rule of this tenant covers "${channel}".`
}

/**
 * Returns the message for a rule that covers the channel and does not grant the operation to the subject.
 * `matchesSubject` is false when the variables of the rule's pattern, filled for this subject, give another
 * channel.
 */
export function noGrantMessage(
  rule: ChannelRule,
  request: { operation: Operation; channel: string; matchesSubject: boolean },
): string {
  const { channel, matchesSubject, operation } = request
  if (!matchesSubject) {
    const variables = describeVariables(rule.match.value)
    return (
      `Rule "${rule.name}" covers "${channel}" only for users whose ${variables} matches the ` +
      `pattern "${rule.match.value}".`
    )
  }
  const subjects = rule.grants
    .filter((grant) => grant.effect === 'Allow' && grant.operations.includes(operation))
    .flatMap((grant) => grant.subjects)
  if (subjects.length === 0)
    return `Rule "${rule.name}" covers "${channel}", but grants ${operation} to no one.`
  return `Rule "${rule.name}" grants ${operation} on "${channel}" only to ${describeSubjects(subjects)}.`
}

/** Returns the message for an operation that a Deny grant of the rule forbids. */
export function deniedMessage(rule: ChannelRule, denial: { operation: Operation; grant: Grant }): string {
  return (
    `Rule "${rule.name}" denies ${denial.operation} to ` +
    `${describeSubjects(denial.grant.subjects)}, and a Deny overrides every Allow.`
  )
}

function describeSubjects(subjects: readonly Subject[]): string {
  return [...new Set(subjects.map(describeSubject))].join(', or ')
}

function describeSubject(subject: Subject): string {
  const conditions: string[] = []
  if (subject.users) conditions.push('a user name that the rule lists')
  if (subject.roles) conditions.push(`role ${quotedList(subject.roles)}`)
  if (subject.claims) conditions.push(`a matching claim ${quotedList(Object.keys(subject.claims))}`)
  if (subject.anonymous)
    return conditions.length > 0 ? 'no one (the subject requires a guest with a token)' : 'guests'
  return conditions.length > 0 ? `users with ${conditions.join(' and ')}` : 'users with a valid token'
}

function describeVariables(pattern: string): string {
  const variables = pattern.split(':').filter((segment) => segment.startsWith('{'))
  return variables
    .map((name) => (name === '{user}' ? 'user name' : `claim "${name.slice('{claims.'.length, -1)}"`))
    .join(' and ')
}

function quotedList(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(' or ')
}
