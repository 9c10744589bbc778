// Words for refusals. They reach the refused: what would help is told, who else may do it is not.
import type { ChannelRule, Grant, Operation, Subject } from './policy.js'

export function noRuleMessage(channel: string): string {
  return `No channel rule of this tenant covers "${channel}".`
}

/** `inPlace` false: the rule's variables, filled for this subject, give another channel. */
export function noGrantMessage(
  rule: ChannelRule,
  asked: { operation: Operation; channel: string; inPlace: boolean },
): string {
  if (!asked.inPlace) {
    const fillers = describeVariables(rule.match.value)
    return `Rule "${rule.name}" covers "${asked.channel}" only for those whose ${fillers} stands at that place in "${rule.match.value}".`
  }
  const subjects = rule.grants
    .filter((grant) => grant.effect === 'Allow' && grant.operations.includes(asked.operation))
    .flatMap((grant) => grant.subjects)
  if (subjects.length === 0)
    return `Rule "${rule.name}" covers "${asked.channel}" and grants ${asked.operation} to nobody.`
  return `Rule "${rule.name}" grants ${asked.operation} on "${asked.channel}" only to ${describeSubjects(subjects)}.`
}

export function deniedMessage(rule: ChannelRule, denial: { operation: Operation; grant: Grant }): string {
  return `Rule "${rule.name}" denies ${denial.operation} to ${describeSubjects(denial.grant.subjects)}, and a denial outweighs every grant.`
}

function describeSubjects(subjects: readonly Subject[]): string {
  return [...new Set(subjects.map(describeSubject))].join(', or ')
}

function describeSubject(subject: Subject): string {
  const marks: string[] = []
  if (subject.users) marks.push('a name on its list of users')
  if (subject.roles) marks.push(`role ${quotedList(subject.roles)}`)
  if (subject.claims) marks.push(`a fitting claim ${quotedList(Object.keys(subject.claims))}`)
  if (subject.anonymous) return marks.length > 0 ? 'nobody (it asks for a guest with a token)' : 'guests'
  return marks.length > 0 ? `users with ${marks.join(' and ')}` : 'users with a valid token'
}

function describeVariables(pattern: string): string {
  const names = pattern.split(':').filter((segment) => segment.startsWith('{'))
  return names
    .map((name) => (name === '{user}' ? 'user name' : `claim "${name.slice('{claims.'.length, -1)}"`))
    .join(' and ')
}

function quotedList(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(' or ')
}
