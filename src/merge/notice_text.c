/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/notice_text.h"

#define BEFORE                                                                                                         \
    "**They must not be used in clinical care or for any clinical decision making.** They are not a\n"                 \
    "medical device, nothing about them has been approved for use on patients, and their answers can be\n"             \
    "wrong in ways that look right.\n"                                                                                 \
    "\n"                                                                                                               \
    "Using, sharing or building on them is bound by the terms of everything that went into them, all of\n"             \
    "which must be kept:\n"                                                                                            \
    "\n"                                                                                                               \
    "- **Base weights (LLaMA):** Meta's LLaMA licence, which is non-commercial and restricts passing the\n"            \
    "  weights on.\n"

#define AFTER                                                                                                          \
    "- **Training data and models behind them:** the LLaVA-Med data are CC BY-NC 4.0 (non-commercial),\n"              \
    "  and the terms of use of Vicuna and of GPT-4, whose output was part of the data, apply as well.\n"               \
    "\n"                                                                                                               \
    "Where these terms differ, the strictest one holds. This notice is a summary, not a licence, and\n"

const char notice_text[] =
    "# Research use only\n"
    "\n"
    "The model weights in this directory were computed by adding delta weights to base weights. They are\n"
    "for research only.\n"
    "\n" BEFORE
    "- **Delta weights (LLaVA-Med):** the Microsoft Research licence that came with the delta. Where the\n"
    "  delta held its licence as a file, that file lies beside this one.\n" AFTER
    "grants no rights. The program that added the weights has a licence of its own, which says nothing\n"
    "about the weights.\n";

const char notice_text_of_delta[] =
    "# Research use only\n"
    "\n"
    "The weights in this directory are a delta: computed by subtracting base weights from those of a model\n"
    "made of them. They and what they are added to are for research only.\n"
    "\n" BEFORE
    "- **The model:** the licence that came with it. Where it was a file, that file lies beside this one.\n" AFTER
    "grants no rights. The program that subtracted the weights has a licence of its own, which says nothing\n"
    "about the weights.\n";
