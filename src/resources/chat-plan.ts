// The schema of ChatPlan: the limits that a platform team offers to tenants. It is cluster-scoped, and
// tenants name it in `spec.planRef`.
import { z } from 'zod'
import { celRules } from './cel.js'
import { PlanLimits } from './limits.js'
import { resource, StringMap } from './common.js'

/** A label selector as elsewhere in Kubernetes: all of its requirements must hold. */
export const LabelSelector = z.strictObject({
  matchLabels: StringMap.optional().describe('Labels that must have these values.'),
  matchExpressions: z
    .array(
      z
        .strictObject({
          key: z.string().max(317).describe('The name of the label.'),
          operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label is compared.'),
          values: z.array(z.string().max(63)).max(64).optional().describe('The values, for In and NotIn.'),
        })
        .superRefine(({ operator, values = [] }, context) => {
          const needsValues = operator === 'In' || operator === 'NotIn'
          if (needsValues === values.length > 0) return
          const message = needsValues
            ? `${operator} needs at least one value.`
            : `${operator} does not accept values.`
          context.addIssue({ code: 'custom', path: ['values'], message })
        })
        .meta(
          celRules([
            {
              rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
              message: 'In and NotIn need at least one value; Exists and DoesNotExist do not accept values.',
              fieldPath: '.values',
            },
          ]),
        ),
    )
    .max(16)
    .optional()
    .describe('Label requirements that must all hold.'),
})
export type LabelSelector = z.output<typeof LabelSelector>

/** `from` is missing when the API server evaluates the rules for the default `{}` of the enclosing object. */
const bySelector = "(has(self.from) && self.from == 'Selector')"

export const ChatPlanSpec = z.strictObject({
  limits: PlanLimits.prefault({}).describe('The limits of each tenant on this plan.'),
  enforcement: z
    .enum(['Enforce', 'Warn', 'DryRun'])
    .default('Enforce')
    .describe(
      'The handling of a request that exceeds a limit. Enforce refuses it. Warn allows, counts and ' +
        'logs it. DryRun allows and counts it.',
    ),
  preemption: z
    .enum(['Never', 'ShedNewest', 'ShedIdle'])
    .default('Never')
    .describe(
      'The handling of open connections above a limit that was lowered. Never keeps them open and ' +
        'refuses new ones. ShedNewest closes the newest. ShedIdle closes those that were idle ' +
        'longest.',
    ),
  allowedNamespaces: z
    .strictObject({
      from: z
        .enum(['All', 'Selector', 'None'])
        .default('All')
        .describe(
          'The namespaces whose tenants may use the plan: All, None, or those that the selector selects.',
        ),
      selector: LabelSelector.optional().describe('For Selector: the labels of the namespaces.'),
    })
    .superRefine(({ from, selector }, context) => {
      if ((from === 'Selector') === (selector !== undefined)) return
      const message =
        from === 'Selector'
          ? '"from: Selector" needs a selector.'
          : 'A selector is allowed only with "from: Selector".'
      context.addIssue({ code: 'custom', path: ['selector'], message })
    })
    .meta(
      celRules([
        {
          rule: `!${bySelector} || has(self.selector)`,
          message: '"from: Selector" needs a selector.',
          fieldPath: '.selector',
          reason: 'FieldValueRequired',
        },
        {
          rule: `${bySelector} || !has(self.selector)`,
          message: 'A selector is allowed only with "from: Selector".',
          fieldPath: '.selector',
          reason: 'FieldValueForbidden',
        },
      ]),
    )
    .prefault({})
    .describe('The namespaces that may use the plan.'),
})

export const ChatPlan = resource('ChatPlan', ChatPlanSpec)
export type ChatPlan = z.output<typeof ChatPlan>
