// docs/reference/conditions.md: every condition and every reason that the controller gives.
import { conditionTypes, problemMeanings, reasons } from '../../dist/controller/reasons.js'
import { generatedNote, table } from './table.mjs'

/** @param {Record<string, string>} meanings */
const rows = (meanings) => Object.entries(meanings).map(([word, meaning]) => [`\`${word}\``, meaning])

export function conditionsPage() {
  return `${generatedNote}
# Conditions

Of ChatTenants; ChatPlans and ChatCredentials have \`Ready\`, \`Reconciling\` and \`Stalled\`. Each bears the generation of the spec that it
speaks of. \`Reconciling\`, \`Stalled\` and \`Conflict\` are there only while they are true. Reasons are a closed list: alerts may match them;
messages are for people and may change.

${table(['condition', 'true when'], rows(conditionTypes))}
## Reasons

${table(['reason', 'meaning'], rows(reasons))}
## Reasons why a spec is not accepted

In \`Accepted\`, \`Ready\` and \`Stalled\`, with the field and a sentence.

${table(['reason', 'meaning'], rows(problemMeanings))}`
}
