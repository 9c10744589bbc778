// ChatPlan: what a platform team offers to tenants. Cluster-scoped; tenants name it in `spec.planRef`.
import { z } from 'zod'
import { celRules } from './cel.js'
import { PlanLimits } from './limits.js'
import { resource, StringMap } from './common.js'

/** As Kubernetes selects by labels everywhere: all of it must hold. */
export const LabelSelector = z.strictObject({
  matchLabels: StringMap.optional().describe('Labels that must be there with these values.'),
  matchExpressions: z
    .array(
      z
        .strictObject({
          key: z.string().max(317).describe('Name of the label.'),
          operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label is compared.'),
          values: z.array(z.string().max(63)).max(64).optional().describe('For In and NotIn: the values.'),
        })
        .superRefine(({ operator, values = [] }, context) => {
          const wantsValues = operator === 'In' || operator === 'NotIn'
          if (wantsValues === values.length > 0) return
          const message = wantsValues
            ? `${operator} needs at least one value.`
            : `${operator} takes no values.`
          context.addIssue({ code: 'custom', path: ['values'], message })
        })
        .meta(
          celRules([
            {
              rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
              message: 'In and NotIn need at least one value; Exists and DoesNotExist take none.',
              fieldPath: '.values',
            },
          ]),
        ),
    )
    .max(16)
    .optional()
    .describe('Comparisons that must all hold.'),
})
export type LabelSelector = z.output<typeof LabelSelector>

/** `from` is missing in one case: when the API server asks the rules about the default `{}` of what is around it. */
const bySelector = "(has(self.from) && self.from == 'Selector')"

export const ChatPlanSpec = z.strictObject({
  limits: PlanLimits.prefault({}).describe('What each tenant on this plan gets.'),
  enforcement: z
    .enum(['Enforce', 'Warn', 'DryRun'])
    .default('Enforce')
    .describe(
      'What happens above a limit. Enforce refuses; Warn lets pass, counts and logs; DryRun lets pass and counts.',
    ),
  preemption: z
    .enum(['Never', 'ShedNewest', 'ShedIdle'])
    .default('Never')
    .describe(
      'What happens to connections above a lowered limit. Never leaves them and refuses new ones; the others close the newest, or those idle longest.',
    ),
  allowedNamespaces: z
    .strictObject({
      from: z
        .enum(['All', 'Selector', 'None'])
        .default('All')
        .describe('Namespaces whose tenants may use the plan.'),
      selector: LabelSelector.optional().describe('For Selector: labels of those namespaces.'),
    })
    .superRefine(({ from, selector }, context) => {
      if ((from === 'Selector') === (selector !== undefined)) return
      const message =
        from === 'Selector'
          ? 'From: Selector needs a selector.'
          : 'A selector counts only with from: Selector.'
      context.addIssue({ code: 'custom', path: ['selector'], message })
    })
    .meta(
      celRules([
        {
          rule: `!${bySelector} || has(self.selector)`,
          message: 'From: Selector needs a selector.',
          fieldPath: '.selector',
          reason: 'FieldValueRequired',
        },
        {
          rule: `${bySelector} || !has(self.selector)`,
          message: 'A selector counts only with from: Selector.',
          fieldPath: '.selector',
          reason: 'FieldValueForbidden',
        },
      ]),
    )
    .prefault({})
    .describe('Who may use the plan.'),
})

export const ChatPlan = resource('ChatPlan', ChatPlanSpec)
export type ChatPlan = z.output<typeof ChatPlan>
