"""MiniMax M2: `<minimax:tool_call><invoke name="F"><parameter name="K">V</parameter></invoke>`.

Source: the chat template of MiniMaxAI/MiniMax-M2.
"""

from gateway.text.tools.family import Opener
from gateway.text.tools.markup_family import Markup, MarkupFamily, Tags


class MiniMaxM2(MarkupFamily):
    """All calls of an answer stand in one block."""

    name = "minimax_m2"
    openers = (Opener("<minimax:tool_call>", "<", "</minimax:tool_call>", "</invoke>"),)
    function = Tags("<invoke name=", ">", "</invoke>")
    argument = Tags("<parameter name=", ">", "</parameter>")
    forbidden = (
        "</parameter>", "<parameter name=", "</invoke>", "<invoke name=", "</minimax:tool_call>"
    )  # fmt: skip
    newline = True
    markup = Markup(
        before='<invoke name="',
        name_end='">\n',
        key='<parameter name="',
        value='">',
        value_end="</parameter>\n",
        after="</invoke>\n",
        opening="<minimax:tool_call>\n",
        closing="</minimax:tool_call>",
    )
