from holdfast.reports.comparison import comparison_figure as comparison_figure
from holdfast.reports.curves import curves_figure as curves_figure
from holdfast.reports.heat import heat_figure as heat_figure
from holdfast.reports.line import line_figure as line_figure
from holdfast.reports.matrix import matrix_figure as matrix_figure
from holdfast.reports.save import save_figure as save_figure
from holdfast.reports.table import comparison_table as comparison_table
